import { lineOf } from './machine.ts'
import type { Measure } from './measure.ts'
import type { Results } from './results.ts'
import { verdictOf } from './verdict.ts'
import { inShort, inWords, targetOf } from './wording.ts'

const START = '<!-- performance: made by `npm run bench:readme`, not typed -->'
const END = '<!-- /performance -->'

/**
 * README with the performance section made from these results, between its two marks.
 * @throws if the marks are missing
 */
export function withSection(readme: string, results: Results): string {
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)]
  if (start < 0 || end < start) throw new Error(`README lacks ${START} or, after it, ${END}`)
  return `${readme.slice(0, start + START.length)}\n\n${sectionOf(results)}\n\n${readme.slice(end)}`
}

function sectionOf({ machine, mode, benches }: Results): string {
  const rows = Object.entries(benches).flatMap(([bench, measures]) =>
    measures.map(measure => rowOf(bench, measure)),
  )
  const verdicts = Object.values(benches).flat().map(verdictOf)
  const count = (verdict: string): number => verdicts.filter(one => one === verdict).length
  const withTarget = verdicts.filter(verdict => verdict !== undefined).length
  return `![Requests per second by number of vhosts](spec/bench/throughput.svg)

![Latency of a flip](spec/bench/flip.svg)

| measure | express-van | beside | to reach |
| --- | --- | --- | --- |
${rows.join('\n')}

${count('met')} of ${withTarget} targets are met, ${count('missed')} missed. Medians, with quartiles in brackets; contenders take turns in one run, except those
marked *elsewhere*, which [were measured once](spec/bench/recorded-peers.ts), on the machine named there.

\`npm run bench\` measures all of it anew (\`${mode === 'full' ? '-- --full' : '-- dispatch'}\` ${mode === 'full' ? 'as here' : 'for one row, `-- --full` for longer'}). These are of
${lineOf(machine)}.`
}

function rowOf(bench: string, measure: Measure): string {
  const { name, unit, ours, beside } = measure
  const peers = Object.entries(beside).map(([peer, figure]) => `${peer}: ${inShort(figure, unit)}`)
  const target = [targetOf(measure), verdictOf(measure)].filter(Boolean).join(', ')
  const cells = [
    `\`${bench}\` ${name}`,
    `**${inShort(ours, unit)}**${spreadOf(measure)}`,
    peers.join('; '),
    target,
  ]
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function spreadOf({ ours, unit }: Measure): string {
  if ('reason' in ours) return `: ${ours.reason}`
  return inWords(ours, unit).slice(inShort(ours, unit).length)
}
