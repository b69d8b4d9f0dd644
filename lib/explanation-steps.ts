import type { VhostExplanation } from './explain.ts'

/** An explanation step by step, each with a name and one line of text, in the words of every place that shows it. */
export function explanationSteps(explanation: VhostExplanation): [step: string, text: string][] {
  const { error, environmentWrites, notes, patterns, ...others } = explanation
  const rows = Object.entries(others).map(([step, value]): [string, string] => [
    step.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`),
    value === null ? '-' : String(value),
  ])
  rows.splice(2, 0, ['patterns', patterns.join(', ') || '-'])
  if (error)
    rows.push(['error', `${error.code}: ${error.message}${error.cause === null ? '' : `: ${error.cause}`}`])
  if (environmentWrites.length > 0) rows.push(['environment', `wrote ${environmentWrites.join(', ')}`])
  for (const note of notes) rows.push(['note', note])
  return rows.map(([step, text]) => [step, text.split('\n', 1)[0] as string])
}
