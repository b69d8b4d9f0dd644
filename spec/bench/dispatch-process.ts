import type { IncomingMessage, ServerResponse } from 'node:http'
import expressVhost from 'express-vhost'
import vhost from 'vhost'
import { type Exchange, Exchanges } from './exchanges.ts'
import { loadedRouter } from './loaded-router.ts'
import { pick } from './random.ts'
import { type Contender, interleaved } from './rounds.ts'
import { shareHandler } from './shared-handler.ts'
import { answer } from './worker.ts'

export interface DispatchQuestion {
  readonly layers: readonly Layer[]
  /** Where the folders of the hosts are; only `ours` needs it. */
  readonly base: string
  /** All known hosts. */
  readonly hosts: readonly string[]
  /** How many of them are asked, each equally often; they are the last of `hosts`. */
  readonly asked: readonly number[]
  readonly rounds: number
}

export type Layer = keyof typeof MAKE_DISPATCHER
export type DispatchSamples = Record<'handler', Samples> & Partial<Record<Layer, Samples>>

type Samples = (number | undefined)[]
type Dispatch = (req: IncomingMessage, res: ServerResponse) => void

/** How many fresh objects each contender gets in each round. */
const BATCH = 300
/** Rounds of all contenders before the first that counts. */
const WARM_UP = 12
/** After thousands of loads, batches that this layer takes alone until its code is compiled and the heap has settled. */
const BATCHES_AHEAD = 60
/** In milliseconds: a slow contender gets fewer objects, so that it takes no longer than this per round. */
const MOST_MS = 20

const verbs = answer({ dispatch })
export type DispatchVerbs = typeof verbs

/** For each number of asked hosts: nanoseconds per dispatched request, round by round, also for the bare handler. */
async function dispatch(question: DispatchQuestion): Promise<DispatchSamples[]> {
  const { layers, base, hosts, asked, rounds } = question
  const dispatchers: Partial<Record<Layer, Dispatch>> = {}
  for (const layer of layers) dispatchers[layer] = await MAKE_DISPATCHER[layer](hosts, base)
  const samples: DispatchSamples[] = []
  for (const some of asked) samples.push(await dispatchTo(hosts.slice(-some), dispatchers, rounds))
  return samples
}

async function dispatchTo(
  hosts: readonly string[],
  dispatchers: Partial<Record<Layer, Dispatch>>,
  rounds: number,
): Promise<DispatchSamples> {
  using exchanges = new Exchanges()
  const contenders = Object.entries<Dispatch>({ handler, ...dispatchers }).map(
    ([name, dispatcher]) => [name, contenderOf(dispatcher, hosts, exchanges)] as const,
  )
  if (dispatchers.ours) await warmUp(dispatchers.ours, hosts, exchanges)
  const named = Object.fromEntries(contenders) as Record<keyof DispatchSamples, Contender>
  return await interleaved(named, { rounds, warmUp: WARM_UP })
}

/** Asks each host at least once: what is made at a name's first request belongs to its load. */
async function warmUp(dispatcher: Dispatch, hosts: readonly string[], exchanges: Exchanges): Promise<void> {
  const requests = Math.max(BATCHES_AHEAD * BATCH, hosts.length)
  for (let start = 0; start < requests; start += BATCH) {
    const batch = Array.from({ length: BATCH }, (_, i) => hosts[(start + i) % hosts.length] as string)
    timed(dispatcher, await exchanges.collect(batch))
    await exchanges.answer()
  }
}

// Does what Node does when a response has ended, which is where the router stops counting a request as in flight. So
// that is part of the figure, and the socket is not.
function handler(_: IncomingMessage, res: ServerResponse): void {
  res.emit('close')
}

const MAKE_DISPATCHER = {
  ours: async (hosts: readonly string[], basePath: string): Promise<Dispatch> => {
    shareHandler(handler)
    const vhosts = await loadedRouter(basePath, hosts)
    return (req, res) => vhosts(req, res, unrouted)
  },
  'bare Map': (hosts: readonly string[]): Dispatch => {
    const byHost = new Map(hosts.map(host => [host, handler]))
    return (req, res) => byHost.get(req.headers.host as string)?.(req, res)
  },
  'express-vhost': (hosts: readonly string[]): Dispatch => {
    for (const host of hosts) expressVhost.register(host, handler)
    const dispatcher = expressVhost.vhost()
    return (req, res) => dispatcher(req, res, unrouted)
  },
  vhost: (hosts: readonly string[]): Dispatch => {
    const chain = hosts.map(host => vhost(host, handler))
    return (req, res) => passOn(chain, req, res)
  },
}

// In a loop, as recursion through a chain of thousands kills the process.
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
