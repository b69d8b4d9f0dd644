/** Columns as wide as they must be, two blanks between them; numbers stand to the right. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const cells = rows.map(row => row.map(cell => printable(String(cell))))
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map(row => row[i]?.length ?? 0)))
  const isNumber = head.map((_, i) => rows.length > 0 && rows.every(row => typeof row[i] === 'number'))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [head, ...cells].map(line).join('\n')
}

/** Text that a terminal shows as it is: what would move the cursor, colour or hide is written as an escape. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    character === '\n' ? '\n' : `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
  )
}
