import { setTimeout as delay } from 'node:timers/promises'
import type { VhostRouterOptions } from '../../lib/index.ts'
import { medianOf } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import type { RouterVerbs } from './router-process.ts'
import { Sites, SMALL_APP } from './sites.ts'
import { Worker } from './worker.ts'

const VHOSTS = 500
/** Loaded beforehand, so that one-off memory is not shared out among the others. */
const FIRST = 50
const ROUNDS: Record<Mode, number> = { check: 1, short: 2, full: 9 }
const KB = 1024
const TARGET = 8

/** The heap of loaded vhosts, less what their modules take when a bare `require()` loads them. */
export async function measure(mode: Mode): Promise<Measure[]> {
  using sites = new Sites()
  const hosts = sites.add(FIRST + VHOSTS, SMALL_APP)
  const bare: number[] = []
  const watching: number[] = []
  const polling: number[] = []
  for (let round = 0; round < ROUNDS[mode]; round++) {
    // At the same time, as memory is measured.
    const [without, watched, polled] = await Promise.all([
      bareHeap(sites.base, hosts),
      routerHeap({ basePath: sites.base }, hosts),
      routerHeap({ basePath: sites.base, watch: false }, hosts),
    ])
    bare.push(without)
    watching.push(watched - without)
    polling.push(polled - without)
  }
  const beside = {
    'the modules alone': medianOf(bare),
    ...measuredElsewhere('memory of a vhost'),
  }
  return [
    {
      name: 'of the router for each loaded vhost',
      unit: 'KB',
      ours: medianOf(watching),
      beside,
      limit: TARGET,
    },
    {
      name: 'of the router for each loaded vhost, watch: false',
      unit: 'KB',
      ours: medianOf(polling),
      beside,
      limit: TARGET,
    },
  ]
}

async function routerHeap(options: VhostRouterOptions, hosts: readonly string[]): Promise<number> {
  await using worker = new Worker<RouterVerbs>('router-process')
  await worker.ask('start', { options: { ...options, maxApps: hosts.length }, host: hosts[0] as string })
  return await heapOfVhosts(worker, hosts, async some => await worker.ask('load', some))
}

async function bareHeap(base: string, hosts: readonly string[]): Promise<number> {
  await using worker = new Worker<RouterVerbs>('router-process')
  return await heapOfVhosts(
    worker,
    hosts,
    async some => await worker.ask('requireAll', { base, hosts: some }),
  )
}

/** KB per vhost. */
async function heapOfVhosts(
  worker: Worker<RouterVerbs>,
  hosts: readonly string[],
  load: (hosts: readonly string[]) => Promise<void>,
): Promise<number> {
  await load(hosts.slice(0, FIRST))
  const before = await settledHeap(worker)
  await load(hosts.slice(FIRST))
  return ((await settledHeap(worker)) - before) / VHOSTS / KB
}

async function settledHeap(worker: Worker<RouterVerbs>): Promise<number> {
  // Watches are set up after the load.
  await delay(1000)
  return (await worker.ask('memory', undefined)).heap
}
