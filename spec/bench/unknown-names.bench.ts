import { stat } from 'node:fs'
import { IncomingMessage, type ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { heapInUse } from '../support/process-state.ts'
import { World } from '../support/world.ts'
import { figureOf, medianOf } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, present } from './rounds.ts'

const NAMES: Record<Mode, number> = { check: 10_000, short: 50_000, full: 1_000_000 }
const NAMES_PER_ROUND = 1000
const LANES = 100
const WARM_UP = 10
const TARGET = { time: 8, heap: 2 }

type Ask = (req: IncomingMessage) => Promise<unknown>

/** Names that nobody has asked for before, many at a time, as strangers send them. */
export async function measure(mode: Mode): Promise<Measure[]> {
  await using world = await World.start()
  world.site('known.bench.test', 'hello')
  await world.body('known.bench.test')
  let names = 0
  const nextName = (): string => `stranger-${names++}.bench.test`
  const route: Ask = async req => await routed(world, req)
  const look: Ask = async ({ rawHeaders: [, name = ''] }) =>
    await new Promise<void>(resolve => stat(world.path(name), () => resolve()))
  const rounds = { rounds: NAMES[mode] / NAMES_PER_ROUND, warmUp: WARM_UP }
  await timed(route, nextName)
  const before = await heapInUse()
  const { ours, bare } = await interleaved(
    { ours: () => timed(route, nextName), bare: () => timed(look, nextName) },
    rounds,
  )
  const grown = (await heapInUse()) - before
  const count = NAMES[mode].toLocaleString('en')
  return [
    {
      name: `each of ${count}, ${LANES} at a time`,
      unit: 'µs',
      ours: medianOf(present(ours)),
      beside: { 'bare fs.stat': medianOf(present(bare)), ...measuredElsewhere('unknown name') },
      limit: TARGET.time,
    },
    { name: `heap growth after ${count}`, unit: 'MB', ours: figureOf(grown), beside: {}, limit: TARGET.heap },
  ]
}

/** Microseconds per name. */
async function timed(ask: Ask, nextName: () => string): Promise<number> {
  // Made before the clock starts: Node makes a request object whoever routes it.
  const requests = Array.from({ length: NAMES_PER_ROUND }, () => requestFor(nextName()))
  const start = performance.now()
  const lane = async (): Promise<void> => {
    for (let req = requests.pop(); req !== undefined; req = requests.pop()) await ask(req)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return (1000 * (performance.now() - start)) / NAMES_PER_ROUND
}

const socket = new Socket()

function requestFor(host: string): IncomingMessage {
  const req = new IncomingMessage(socket)
  req.url = '/'
  req.rawHeaders = ['Host', host]
  return req
}

async function routed(world: World, req: IncomingMessage): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    // The response is never touched: nobody serves these names.
    world.vhosts(req, {} as ServerResponse, error => (error === undefined ? resolve() : reject(error)))
  })
}
