import { setTimeout as delay } from 'node:timers/promises'
import type { VhostRouterOptions } from '../../lib/index.ts'
import { type Figure, medianOf } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import type { RouterVerbs } from './router-process.ts'
import { Sites, SMALL_APP } from './sites.ts'
import { tooManyWatches } from './watch-limits.ts'
import { Worker } from './worker.ts'

const VHOSTS = 1000
const WATCHES_PER_VHOST = 3
/** In seconds: as long as armed vhosts take to be compared once. */
const SECONDS: Record<Mode, number> = { check: 10, short: 10, full: 60 }
const TARGET = 20
const PLAIN = 'realpath and stat of each folder'

/** What it costs to watch vhosts that nobody asks for and nobody changes. */
export async function measure(mode: Mode): Promise<Measure[]> {
  using sites = new Sites()
  const hosts = sites.add(VHOSTS, SMALL_APP)
  const options: VhostRouterOptions = { basePath: sites.base, maxApps: VHOSTS }
  const without = tooManyWatches(VHOSTS * WATCHES_PER_VHOST)
  // At the same time, so that noise hits all alike; each is idle except for a few percent.
  const [watching, polling, plain] = await Promise.all([
    without === undefined ? ofRouter(options, hosts, SECONDS[mode]) : { reason: without },
    ofRouter({ ...options, watch: false }, hosts, SECONDS[mode]),
    ofPlainPolling(sites.base, hosts, SECONDS[mode]),
  ])
  return [
    {
      name: `CPU for ${VHOSTS.toLocaleString('en')} loaded vhosts`,
      unit: 'ms/s',
      ours: watching,
      beside: { 'watch: false': polling, [PLAIN]: plain, ...measuredElsewhere('idle') },
      limit: TARGET,
    },
  ]
}

async function ofRouter(
  options: VhostRouterOptions,
  hosts: readonly string[],
  seconds: number,
): Promise<Figure> {
  await using worker = new Worker<RouterVerbs>('router-process')
  await worker.ask('start', { options, host: hosts[0] as string })
  await worker.ask('load', hosts)
  return await cpuPerSecond(worker, seconds)
}

/** What a router without watches could hardly avoid: checking that each folder is still where it was, and the same. */
async function ofPlainPolling(base: string, hosts: readonly string[], seconds: number): Promise<Figure> {
  await using worker = new Worker<RouterVerbs>('router-process')
  await worker.ask('poll', { base, hosts })
  return await cpuPerSecond(worker, seconds)
}

async function cpuPerSecond(worker: Worker<RouterVerbs>, seconds: number): Promise<Figure> {
  // After the load, watches are set up and what was loaded is compared once.
  await delay(2000)
  await worker.ask('memory', undefined)
  const samples: number[] = []
  for (let second = 0; second < seconds; second++) {
    const [cpu, start] = [await worker.ask('cpuMilliseconds', undefined), performance.now()]
    await delay(1000)
    const used = (await worker.ask('cpuMilliseconds', undefined)) - cpu
    samples.push((1000 * used) / (performance.now() - start))
  }
  return medianOf(samples)
}
