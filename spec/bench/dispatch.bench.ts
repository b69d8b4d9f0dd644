import type { DispatchSamples, DispatchVerbs } from './dispatch-process.ts'
import { medianOf } from './figure.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { roundByRound } from './rounds.ts'
import { Worker } from './worker.ts'

/**
 * How many hosts are known, and how many of them are asked: with thousands, what any look-up comes to is to fetch
 * what it needs from far away in memory, so there is a row that shows the layer without that.
 */
const ALL = [
  { hosts: 1, asked: [1] },
  { hosts: 100, asked: [100] },
  { hosts: 10_000, asked: [100, 10_000] },
]
const ROWS: Record<Mode, typeof ALL> = { check: ALL.slice(0, 2), short: ALL, full: ALL }
const ROUNDS: Record<Mode, number> = { check: 30, short: 30, full: 500 }
const TARGET = 500

/** From a request object that Node has just parsed to the app's handler, and out of the count again. */
export async function measure(mode: Mode): Promise<Measure[]> {
  const measures: Measure[] = []
  for (const { hosts, asked } of ROWS[mode]) {
    await using worker = new Worker<DispatchVerbs>('dispatch-process')
    const samples = await worker.ask('dispatch', { hosts, asked, rounds: ROUNDS[mode] })
    for (const [row, some] of asked.entries()) {
      const share = some < hosts ? `, ${some} of them asked` : ''
      const name = `above the bare handler, ${namedCount(hosts, 'host')}${share}`
      measures.push(measureOf(name, samples[row] as DispatchSamples))
    }
  }
  return measures
}

function measureOf(name: string, samples: DispatchSamples): Measure {
  const { handler, ours, ...others } = samples
  const aboveHandler = (all: (number | undefined)[]): ReturnType<typeof medianOf> =>
    medianOf(roundByRound(all, handler, (one, bare) => one - bare))
  return {
    name,
    unit: 'ns',
    ours: aboveHandler(ours),
    beside: Object.fromEntries(Object.entries(others).map(([name, all]) => [name, aboveHandler(all)])),
    limit: TARGET,
    yardstick: 'bare Map',
  }
}
