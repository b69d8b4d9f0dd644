import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Isolation } from '../../lib/index.ts'
import { type Figure, figureOf, medianOf, quantile } from './figure.ts'
import type { IsolationVerbs } from './isolation-process.ts'
import { KeepAliveClients, requestTo } from './keep-alive-clients.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, present, type Rounds, roundByRound } from './rounds.ts'
import { Sites } from './sites.ts'
import { Worker } from './worker.ts'

const HOST = 'host.bench.test'
const CONNECTIONS = 32
const ROUND_MS = 100
/**
 * Rounds until three processes on two cores have compiled what they run. The ratio of small answers, which come first,
 * was anything from 0.5 to 0.7 after four rounds, and the same from run to run after twelve.
 */
const WARM_UP = { first: 12, later: 3 }
const ROUNDS: Record<Mode, number> = { check: 8, short: 10, full: 300 }
const LOADS: Record<Mode, number> = { check: 3, short: 6, full: 50 }
const RELOADS: Record<Mode, number> = { check: 60, short: 80, full: 1000 }
/** Before this many, the allocator has not seen everything it will. */
const SETTLED = 50
const MIB = 2 ** 20
/**
 * Only the app itself is loaded anew there: Express lies outside the release. Each thread and process has its own
 * Express.
 */
const LOADED_BEFORE = 'in-process, Express loaded before'
const ISOLATED = ['thread', 'process'] as const
type Isolated = (typeof ISOLATED)[number]

// Made once: if clients encoded a mebibyte for each request, that would be part of the measurement.
const UPLOAD = Buffer.from(
  `POST /upload HTTP/1.1\r\nHost: ${HOST}\r\nContent-Type: application/octet-stream\r\n` +
    `Content-Length: ${MIB}\r\n\r\n${'u'.repeat(MIB)}`,
  'latin1',
)

/*
 * Where the rest goes, by a profile of Node 24: of the router's time for 64 KiB, two fifths are the kernel's; for small
 * JSON, a quarter. Our own code is a tenth, Node's ClientRequest with its headers another. The rest are the layers that
 * HTTP passes twice. A body's second way through the kernel costs about as much as the first.
 * What gave most: chunks whose memory is freed once they are written, and one buffer for all reads (V8 counts the
 * memory of buffers, and went through the whole heap for each 64 MiB of them: 64 KiB 1.5 times the requests, a mebibyte
 * 1.9 times down and 1.4 up); a pool that knows where it leads (Agent copies and merges the options of each request to
 * find out; small JSON 1.25 times).
 * A small answer as text, which Node writes together with its head, and no listeners that nobody needs: 3 to 6 %.
 * Reading what came with the head at the next tick, without listening for it: 1 to 2 %, not adopted.
 * Tried for uploads, with no gain: chunks past ClientRequest to its socket, held together for a turn of the loop or
 * until 128 KiB, 256 KiB and any number of bytes waiting (128 KiB gained 5 to 10 % over a pause at each full buffer).
 */
const WORKLOADS: readonly { name: string; request: string | Buffer; least: number }[] = [
  { name: 'small JSON', request: requestTo(HOST, '/json'), least: 0.55 },
  { name: '64 KiB', request: requestTo(HOST, '/64k'), least: 0.4 },
  { name: '1 MiB streamed down', request: requestTo(HOST, '/1m'), least: 0.35 },
  { name: '1 MiB up', request: UPLOAD, least: 0.4 },
]

/** Requests to one Express app in a thread, in a process and in the router's own process, and what isolation costs. */
export async function measure(mode: Mode): Promise<Measure[]> {
  using sites = new Sites()
  writeApp(sites.base, HOST)
  // A site has one kind of isolation. In one process each would pay for what the others leave there: from the first
  // load without isolation on, Node 20 tracks everything asynchronous.
  await using none = new Worker<IsolationVerbs>('isolation-process')
  await using thread = new Worker<IsolationVerbs>('isolation-process')
  await using own = new Worker<IsolationVerbs>('isolation-process')
  const workers: Workers = { none, thread, process: own }
  const start = (isolation: Isolation): Promise<number> =>
    workers[isolation].ask('start', { base: sites.base, host: HOST, isolation })
  const ports: Ports = {
    none: await start('none'),
    thread: await start('thread'),
    process: await start('process'),
  }
  const measures: Measure[] = []
  for (const { name, request, least } of WORKLOADS) {
    const warmUp = measures.length === 0 ? WARM_UP.first : WARM_UP.later
    const ratios = await ratiosOf(ports, request, { rounds: ROUNDS[mode], warmUp })
    for (const isolation of ISOLATED) {
      measures.push({
        name: `requests/s in a ${isolation} against in-process, ${name}`,
        unit: '×',
        ours: ratios[isolation],
        beside: name === 'small JSON' ? measuredElsewhere('requests/s behind another process') : {},
        least,
      })
    }
  }
  measures.push(...(await addedLatency(ports, ROUNDS[mode])))
  measures.push(...(await costOfLoads(workers, sites.base, LOADS[mode])))
  // At the same time, as memory is measured.
  const slopes = ISOLATED.map(isolation => slopeOf(workers[isolation], isolation, RELOADS[mode]))
  measures.push(...(await Promise.all(slopes)))
  for (const worker of Object.values(workers)) await worker.ask('close', undefined)
  return measures
}

type Ports = Record<Isolation, number>
type Workers = Record<Isolation, Worker<IsolationVerbs>>

async function ratiosOf(
  ports: Ports,
  request: string | Buffer,
  rounds: Rounds,
): Promise<Record<Isolated, Figure>> {
  using none = new KeepAliveClients(ports.none, CONNECTIONS)
  using thread = new KeepAliveClients(ports.thread, CONNECTIONS)
  using own = new KeepAliveClients(ports.process, CONNECTIONS)
  const rate = async (clients: KeepAliveClients): Promise<number> => {
    const start = performance.now()
    const requests = await clients.run(ROUND_MS, () => request)
    return requests / (performance.now() - start)
  }
  const rates = await interleaved(
    { none: () => rate(none), thread: () => rate(thread), process: () => rate(own) },
    rounds,
  )
  const ratio = (all: (number | undefined)[]): Figure =>
    medianOf(roundByRound(all, rates.none, (one, bare) => one / bare))
  return { thread: ratio(rates.thread), process: ratio(rates.process) }
}

/** On one connection, where nothing waits for anything else. */
async function addedLatency(ports: Ports, rounds: number): Promise<Measure[]> {
  using none = new KeepAliveClients(ports.none, 1)
  using thread = new KeepAliveClients(ports.thread, 1)
  using own = new KeepAliveClients(ports.process, 1)
  const request = requestTo(HOST, '/json')
  const latency = async (clients: KeepAliveClients): Promise<number> => {
    const times: number[] = []
    let sent = performance.now()
    await clients.run(ROUND_MS, () => {
      const now = performance.now()
      if (times.length > 0 || sent !== now) times.push(now - sent)
      sent = now
      return request
    })
    // The first was counted from before it was sent.
    return quantile(times.slice(1), 0.5)
  }
  const medians = await interleaved(
    { none: () => latency(none), thread: () => latency(thread), process: () => latency(own) },
    { rounds, warmUp: WARM_UP.later },
  )
  return ISOLATED.map(isolation => ({
    name: `latency added by a ${isolation}, one connection, median`,
    unit: 'ms',
    ours: medianOf(roundByRound(medians[isolation], medians.none, (one, bare) => one - bare)),
    beside: {},
    limit: 0.2,
  }))
}

async function costOfLoads(workers: Workers, base: string, loads: number): Promise<Measure[]> {
  const measures: Measure[] = []
  let copy = 0
  const newHost = (): string => {
    const host = `copy-${copy++}.bench.test`
    writeApp(base, host)
    return host
  }
  const stalls = await interleaved(
    {
      none: () => workers.none.ask('stall', newHost()),
      thread: () => workers.thread.ask('stall', newHost()),
      process: () => workers.process.ask('stall', newHost()),
    },
    { rounds: loads, warmUp: 1 },
  )
  const answers = await interleaved(
    {
      none: () => workers.none.ask('firstAnswer', newHost()),
      thread: () => workers.thread.ask('firstAnswer', newHost()),
      process: () => workers.process.ask('firstAnswer', newHost()),
    },
    { rounds: loads, warmUp: 1 },
  )
  for (const isolation of ISOLATED) {
    const [all, bare] = [present(stalls[isolation]), present(stalls.none)]
    measures.push({
      name: `longest stall of the router while an Express app loads in a ${isolation}, of ${namedCount(loads, 'load')}`,
      unit: 'ms',
      ours: figureOf(Math.max(...all), all),
      beside: { [LOADED_BEFORE]: figureOf(Math.max(...bare), bare) },
      limit: 10,
    })
  }
  for (const isolation of ISOLATED) {
    measures.push({
      name: `first answer of an Express app in a ${isolation}`,
      unit: 'ms',
      ours: medianOf(present(answers[isolation])),
      beside: { [LOADED_BEFORE]: medianOf(present(answers.none)) },
    })
  }
  return measures
}

/** How much of the router's memory each reload keeps. */
async function slopeOf(
  worker: Worker<IsolationVerbs>,
  isolation: Isolated,
  reloads: number,
): Promise<Measure> {
  const samples: number[] = []
  for (let reload = 0; reload < reloads; reload++) {
    await worker.ask('reload', HOST)
    if (reload >= Math.min(SETTLED, reloads / 2))
      samples.push((await worker.ask('resident', undefined)) / MIB)
  }
  return {
    name: `memory kept by each of ${namedCount(reloads, 'reload')} in a ${isolation}`,
    unit: 'MB',
    ours: figureOf(slope(samples)),
    beside: {},
    limit: 0.05,
  }
}

/** The slope of the least-squares line through the samples. */
function slope(samples: readonly number[]): number {
  const middle = (samples.length - 1) / 2
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length
  let [above, below] = [0, 0]
  for (const [at, sample] of samples.entries()) {
    above += (at - middle) * (sample - mean)
    below += (at - middle) ** 2
  }
  return above / below
}

const express = createRequire(import.meta.url).resolve('express')

const APP = `
const app = require(${JSON.stringify(express)})()
const { Readable } = require('node:stream')
const kib64 = Buffer.alloc(64 * 1024, 'd')
app.get('/json', (req, res) => res.json({ hello: 'world', at: 1 }))
app.get('/64k', (req, res) => res.end(kib64))
app.get('/1m', (req, res) => {
  res.setHeader('Content-Length', 16 * kib64.length)
  Readable.from(Array.from({ length: 16 }, () => kib64)).pipe(res)
})
app.post('/upload', (req, res) => {
  let length = 0
  req.on('data', chunk => { length += chunk.length })
  req.on('end', () => res.json({ length }))
})
module.exports = app
`

function writeApp(base: string, host: string): void {
  const file = join(base, host, 'app', 'index.js')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, APP)
}
