import { parseArgs } from 'node:util'
import type { Isolation } from '../../lib/index.ts'
import type { Violation } from './motion-log.ts'
import { type SoakReport, soak } from './run.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    bound: { type: 'string', default: '3000' },
    poll: { type: 'boolean', default: false },
    isolation: { type: 'string', default: 'none' },
  },
})

const report = await soak({
  seed: Number(values.seed),
  milliseconds: Number(values.minutes) * 60 * 1000,
  bound: Number(values.bound),
  watch: !values.poll,
  isolation: values.isolation as Isolation,
  tell: text => console.log(text),
})
console.log(summaryOf(report))
for (const violation of report.violations) console.log(textOf(violation))
console.log(`seed ${values.seed}: ${report.violations.length} violations`)
if (report.violations.length > 0) process.exitCode = 1

function summaryOf(report: SoakReport): string {
  const { requests, kinds, statuses, latencies, mixed, states, stats, complaints } = report
  const latency = (share: number): string =>
    `${(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(0)} ms`
  const rows = Object.entries(report.motions).sort(([, a], [, b]) => b.count - a.count)
  return [
    `requests: ${requests} ${JSON.stringify(kinds)}`,
    `statuses: ${JSON.stringify(statuses)}; answers of mixed files: ${mixed}`,
    ...rows.map(([name, { count, longest }]) => {
      return `${String(count).padStart(6)}  ${name}, live after at most ${longest.toFixed(0)} ms`
    }),
    `live after: median ${latency(0.5)}, 99 % ${latency(0.99)}, at most ${latency(1)} of ${latencies.length}`,
    `the server was able to work for ${(100 * report.serverShare).toFixed(0)} % of the time`,
    `stale graphs: ${stats?.staleGraphs}; totals: ${JSON.stringify(stats?.totals)}`,
    ...states.map((state, index) => `${['before', 'after', 'closed'][index]}: ${JSON.stringify(state)}`),
    complaints && `stderr of the server:\n${complaints}`,
  ].join('\n')
}

function textOf({ name, rule, answer, log }: Violation): string {
  return [`── ${name}: ${rule}`, JSON.stringify(answer), log, ''].join('\n')
}
