import type { IncomingMessage, ServerResponse } from 'node:http'
import expressVhost from 'express-vhost'
import vhost from 'vhost'
import { vhostRouter } from '../../lib/index.ts'
import { type Exchange, Exchanges } from './exchanges.ts'
import { loadAll } from './load-all.ts'
import { pick } from './random.ts'
import { type Contender, interleaved } from './rounds.ts'
import { SHARED_HANDLER_SOURCE, shareHandler } from './shared-handler.ts'
import { Sites } from './sites.ts'
import { answer } from './worker.ts'

export interface DispatchQuestion {
  /** How many are known. */
  readonly hosts: number
  /** How many of them are asked, each as often as the others; the last of all. */
  readonly asked: readonly number[]
  readonly rounds: number
}

export type DispatchSamples = Record<keyof ReturnType<typeof dispatchersTo>, (number | undefined)[]>

type Dispatch = (req: IncomingMessage, res: ServerResponse) => void

/** Fresh objects of each contender in each round. */
const BATCH = 300
/** After thousands of loads it takes longer until code is compiled and the heap has settled. */
const WARM_UP = 40
/** A contender that is slow gets fewer objects, so that it takes no longer than this a round. */
const MOST_MS = 20

const verbs = answer({ dispatch })
export type DispatchVerbs = typeof verbs

/** For each number of asked hosts: nanoseconds for each dispatched request, round by round. */
async function dispatch({ hosts: count, asked, rounds }: DispatchQuestion): Promise<DispatchSamples[]> {
  using sites = Sites.inMemory()
  const hosts = sites.add(count, SHARED_HANDLER_SOURCE)
  shareHandler(handler)
  await using vhosts = vhostRouter({
    basePath: sites.base,
    maxApps: count + 100,
    // Keeping an eye on the disk is measured on its own, by the bench `idle`.
    watch: false,
    updateInterval: 60 * 60 * 1000,
  })
  await loadAll(vhosts, hosts)
  const dispatchers = dispatchersTo(hosts, vhosts)
  const samples: DispatchSamples[] = []
  for (const some of asked) samples.push(await dispatchTo(hosts.slice(-some), dispatchers, rounds))
  return samples
}

async function dispatchTo(
  hosts: readonly string[],
  dispatchers: ReturnType<typeof dispatchersTo>,
  rounds: number,
): Promise<DispatchSamples> {
  using exchanges = new Exchanges()
  const contenders = Object.entries(dispatchers).map(
    ([name, dispatcher]) => [name, contenderOf(dispatcher, hosts, exchanges)] as const,
  )
  // What is made at a name's first request is part of its load; the warm-up picks at random and leaves some out.
  for (let start = 0; start < hosts.length; start += BATCH) {
    timed(dispatchers.ours, await exchanges.collect(hosts.slice(start, start + BATCH)))
    await exchanges.answer()
  }
  const named = Object.fromEntries(contenders) as Record<keyof DispatchSamples, Contender>
  return await interleaved(named, { rounds, warmUp: WARM_UP })
}

// What Node does when a response has ended, which is where a request in flight is counted out; so that it is part of
// the figure, and the socket is not.
function handler(_: IncomingMessage, res: ServerResponse): void {
  res.emit('close')
}

function dispatchersTo(hosts: readonly string[], vhosts: ReturnType<typeof vhostRouter>) {
  const byHost = new Map(hosts.map(host => [host, handler]))
  for (const host of hosts) expressVhost.register(host, handler)
  const throughExpressVhost = expressVhost.vhost()
  const chain = hosts.map(host => vhost(host, handler))
  return {
    handler: handler as Dispatch,
    'bare Map': ((req, res) => byHost.get(req.headers.host as string)?.(req, res)) as Dispatch,
    'express-vhost': ((req, res) => throughExpressVhost(req, res, unrouted)) as Dispatch,
    vhost: ((req, res) => passOn(chain, req, res)) as Dispatch,
    ours: ((req, res) => vhosts(req, res, unrouted)) as Dispatch,
  }
}

// In a loop: a recursive chain of thousands kills the process.
function passOn(chain: ReturnType<typeof vhost>[], req: IncomingMessage, res: ServerResponse): void {
  let isPassedOn = true
  const next = (): void => {
    isPassedOn = true
  }
  for (const layer of chain) {
    isPassedOn = false
    layer(req, res, next)
    if (!isPassedOn) return
  }
  unrouted()
}

function unrouted(error?: unknown): never {
  throw error ?? new Error('no app was found')
}

function contenderOf(dispatcher: Dispatch, hosts: readonly string[], exchanges: Exchanges): Contender {
  let batch = BATCH
  return async () => {
    const collected = await exchanges.collect(Array.from({ length: batch }, () => pick(hosts)))
    const milliseconds = timed(dispatcher, collected)
    await exchanges.answer()
    const each = milliseconds / batch
    batch = Math.max(1, Math.min(BATCH, Math.floor(MOST_MS / each)))
    return each * 1e6
  }
}

function timed(dispatcher: Dispatch, exchanges: readonly Exchange[]): number {
  const start = performance.now()
  for (const { req, res } of exchanges) dispatcher(req, res)
  return performance.now() - start
}
