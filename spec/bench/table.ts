import type { Measure } from './measure.ts'
import { verdictOf } from './verdict.ts'
import { inWords, targetOf } from './wording.ts'

const WIDTHS = [66, 32, 0]

type Row = readonly string[]

/** The measures of a bench as lines of text; printed in a row, the columns of all benches line up. */
export function tableOf(bench: string, measures: readonly Measure[]): string {
  const rows = measures.flatMap(measure => rowsOf(measure))
  return [bench, ...rows.map(row => `  ${row.map(padded).join('  ').trimEnd()}`)].join('\n')
}

export const HEADING = ['measure', 'figure', 'target'].map(padded).join('  ')

function rowsOf(measure: Measure): Row[] {
  const { name, unit, ours, beside, note } = measure
  const target = [targetOf(measure), verdictOf(measure)].filter(Boolean).join(', ')
  return [
    [name, inWords(ours, unit), target],
    ...Object.entries(beside).map(([peer, figure]) => [`    ${peer}`, inWords(figure, unit), '']),
    ...(note === undefined ? [] : [[`    (${note})`, '', '']]),
  ]
}

function padded(text: string, column: number): string {
  return text.padEnd(WIDTHS[column] as number)
}
