import type { DispatchSamples, DispatchVerbs, Layer } from './dispatch-process.ts'
import { type Figure, medianOf } from './figure.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { roundByRound } from './rounds.ts'
import { SHARED_HANDLER_SOURCE } from './shared-handler.ts'
import { Sites } from './sites.ts'
import { Worker } from './worker.ts'

/**
 * How many hosts are known, and how many of them are asked. With thousands, any look-up mostly fetches what it needs
 * from distant memory, so one row shows the layer without that.
 */
const ALL = [
  { hosts: 1, asked: [1] },
  { hosts: 100, asked: [100] },
  { hosts: 10_000, asked: [100, 10_000] },
]
const ROWS: Record<Mode, typeof ALL> = { check: ALL.slice(0, 2), short: ALL, full: ALL }
const ROUNDS: Record<Mode, number> = { check: 30, short: 30, full: 500 }
const TARGET = 500

/** Each group gets its own process: a chain of thousands leaves caches behind that slow down the others by half. */
const TOGETHER: readonly (readonly Layer[])[] = [['ours', 'bare Map', 'express-vhost'], ['vhost']]

/**
 * From a request object that Node has just parsed to the app's handler, until the request no longer counts as in
 * flight.
 */
export async function measure(mode: Mode): Promise<Measure[]> {
  const measures: Measure[] = []
  for (const { hosts: count, asked } of ROWS[mode]) {
    using sites = Sites.inMemory()
    const hosts = sites.add(count, SHARED_HANDLER_SOURCE)
    const samples: DispatchSamples[][] = []
    for (const layers of TOGETHER) {
      await using worker = new Worker<DispatchVerbs>('dispatch-process')
      samples.push(
        await worker.ask('dispatch', { layers, base: sites.base, hosts, asked, rounds: ROUNDS[mode] }),
      )
    }
    for (const [row, some] of asked.entries()) {
      const share = some < count ? `, ${some} of them asked` : ''
      const name = `above the bare handler, ${namedCount(count, 'host')}${share}`
      const figures = samples.map(rows => aboveHandler(rows[row] as DispatchSamples))
      measures.push(measureOf(name, Object.assign({}, ...figures)))
    }
  }
  return measures
}

function measureOf(name: string, { ours, ...others }: Record<Layer, Figure>): Measure {
  return { name, unit: 'ns', ours, beside: others, limit: TARGET, yardstick: 'bare Map' }
}

function aboveHandler({ handler, ...layers }: DispatchSamples): Record<string, Figure> {
  return Object.fromEntries(
    Object.entries(layers).map(([name, samples]) => [
      name,
      medianOf(roundByRound(samples, handler, (one, bare) => one - bare)),
    ]),
  )
}
