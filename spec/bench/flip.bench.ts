import { watch as watchFolder } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { World } from '../support/world.ts'
import { medianOf, quantileOf } from './figure.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, present } from './rounds.ts'

const HOST = 'host.bench.test'
const FLIPS: Record<Mode, number> = { check: 25, short: 40, full: 500 }
const UPDATE_INTERVAL = 200
/** In milliseconds: longer than the work that a swap leaves behind. */
const PAUSE_MS = 60
const WARM_UP = 5
const TARGET = { median: 10, p99: 40, aboveInterval: 20 }
const YARDSTICK = 'bare fs.watch and fs.stat'

/**
 * The time from the flip of a symlink, on an idle machine, to the end of the new release's first answer. No request is
 * sent until the router has reported the switch. The app's own loading time is not included.
 */
export async function measure(mode: Mode): Promise<Measure[]> {
  const flips = FLIPS[mode]
  const watched = await flipSamples(flips, {})
  const yardstick = { [YARDSTICK]: medianOf(watched.bare) }
  const measures: Measure[] = [
    {
      name: `to the first new answer, median of ${namedCount(flips, 'flip')}`,
      unit: 'ms',
      ours: medianOf(watched.ours),
      beside: { ...yardstick, ...measuredElsewhere('flip') },
      limit: TARGET.median,
      yardstick: YARDSTICK,
    },
    {
      name: `to the first new answer, 99th percentile of ${namedCount(flips, 'flip')}`,
      unit: 'ms',
      ours: quantileOf(watched.ours, 0.99),
      beside: { [YARDSTICK]: quantileOf(watched.bare, 0.99) },
      limit: TARGET.p99,
    },
  ]
  if (mode === 'check') return measures
  const polled = await flipSamples(flips / 2, { watch: false, updateInterval: UPDATE_INTERVAL })
  measures.push({
    name: `to the first new answer with watch: false, updateInterval: ${UPDATE_INTERVAL}`,
    unit: 'ms',
    ours: medianOf(polled.ours),
    beside: {},
    limit: UPDATE_INTERVAL + TARGET.aboveInterval,
  })
  return measures
}

async function flipSamples(
  flips: number,
  options: { watch?: boolean; updateInterval?: number },
): Promise<{ ours: number[]; bare: number[] }> {
  await using world = await World.start(options)
  const releases = ['one', 'two'] as const
  for (const name of releases) world.site(`../releases/${name}`, name)
  world.link(HOST, '../releases/one')
  const agent = new Agent({ keepAlive: true })
  await world.get(HOST, '/', { agent })
  const other = (round: number): string => releases[(round + 1) % 2] as string
  const { ours, bare } = await interleaved(
    {
      ours: async round => {
        await pause(options.updateInterval)
        return await flip(world, other(round), agent)
      },
      bare: async round => {
        if (options.watch === false) return undefined
        await pause()
        return await bareFlip(world, other(round))
      },
    },
    { rounds: flips, warmUp: WARM_UP },
  )
  agent.destroy()
  return { ours: present(ours), bare: present(bare) }
}

// Makes the flip equally likely at any point of the interval.
async function pause(updateInterval = 0): Promise<void> {
  await delay(PAUSE_MS + Math.random() * updateInterval)
}

async function flip(world: World, release: string, agent: Agent): Promise<number> {
  const reloaded = world.event('reload')
  const start = performance.now()
  world.link(HOST, `../releases/${release}`)
  const { durationMs } = await reloaded
  const { body } = await world.get(HOST, '/', { agent })
  const end = performance.now()
  if (body !== release) throw new Error(`${body} answered instead of ${release}`)
  return end - start - durationMs
}

/** What no router could do without: being notified, and looking. */
async function bareFlip(world: World, release: string): Promise<number> {
  // In a folder of its own, so that neither wakes the other.
  world.link('../bare/link', '../releases/one')
  const folder = world.path('../bare')
  const watcher = watchFolder(folder)
  const heard = new Promise(resolve => watcher.once('change', resolve))
  const start = performance.now()
  world.link('../bare/link', `../releases/${release}`)
  await heard
  await stat(`${folder}/link`)
  const end = performance.now()
  watcher.close()
  return end - start
}
