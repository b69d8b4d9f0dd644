import { printable } from '../values/printable.ts'

type Row = readonly (string | number)[]

export interface TableOptions {
  /** Characters in a line of the terminal; if undefined, everything is shown. */
  readonly width?: number | undefined
  /** The titles of columns that may be left out if there is no room, in this order. */
  readonly spare?: readonly string[]
}

/** A cell takes at most three tenths of a terminal, within these bounds in characters. */
const [LEAST_CELL, MOST_CELL] = [24, 40]
const GAP = 2

/** Columns are as wide as they must be, with two blanks between them; numbers are aligned right. */
export function formatTable(
  head: readonly string[],
  rows: readonly Row[],
  { width = Number.POSITIVE_INFINITY, spare = [] }: TableOptions = {},
): string {
  const longest = width === Number.POSITIVE_INFINITY ? width : cellOf(width)
  const columns = head.map((title, i) => {
    const values = rows.map(row => row[i] ?? '')
    const cells = values.map(value => shortened(printable(String(value).replaceAll('\n', ' ')), longest))
    const isNumber = rows.length > 0 && values.every(value => typeof value === 'number')
    return { title, cells, isNumber, width: Math.max(title.length, ...cells.map(cell => cell.length)) }
  })
  const widthOf = (some: typeof columns): number =>
    some.reduce((sum, column) => sum + column.width + GAP, -GAP)
  const shown = spare.reduce(
    (some, title) => (widthOf(some) > width ? some.filter(column => column.title !== title) : some),
    columns,
  )
  const line = (textOf: (column: (typeof columns)[number]) => string): string =>
    shown
      .map(column => textOf(column)[column.isNumber ? 'padStart' : 'padEnd'](column.width))
      .join(' '.repeat(GAP))
      .trimEnd()
  return [line(({ title }) => title), ...rows.map((_, i) => line(({ cells }) => cells[i] ?? ''))].join('\n')
}

function cellOf(width: number): number {
  return Math.min(MOST_CELL, Math.max(LEAST_CELL, Math.floor(width * 0.3)))
}

/** A text that is too long loses its middle, a path its beginning. */
function shortened(text: string, longest: number): string {
  if (text.length <= longest) return text
  if (text.includes('/')) return `…${text.slice(1 - longest)}`
  const half = (longest - 1) / 2
  return `${text.slice(0, Math.ceil(half))}…${text.slice(text.length - Math.floor(half))}`
}
