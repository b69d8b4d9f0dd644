/**
 * Text that a terminal or a page shows as it is: characters that move the cursor, colour or hide are written as
 * escapes.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    character === '\n' || character === '\t'
      ? character
      : `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
  )
}

/**
 * The same as one entry of a log: its lines after the first are indented, so that none can be taken for another entry.
 */
export function printableEntry(text: string): string {
  return printable(text).replaceAll('\n', '\n  ')
}
