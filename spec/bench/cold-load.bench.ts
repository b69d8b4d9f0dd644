import { setTimeout as delay } from 'node:timers/promises'
import { installExpress } from '../support/own-express.ts'
import { figureOf, median } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import type { RequireVerbs } from './require-process.ts'
import { interleaved, present, roundByRound } from './rounds.ts'
import type { RouterVerbs } from './router-process.ts'
import { Sites, SMALL_APP } from './sites.ts'
import { Worker } from './worker.ts'

const MODULES = 30
const FUNCTIONS_PER_MODULE = 20
/**
 * Milliseconds before each load, of either contender: the router sets up its watches after a load, and whoever has just
 * run finds everything warm.
 */
const SETTLE_MS = 20
const TARGET = 1.1

type Samples = readonly (number | undefined)[]

interface App {
  readonly name: string
  readonly write: (sites: Sites, host: string) => void
  readonly rounds: Record<Mode, number>
  readonly warmUp: number
}

/** The router adds nearly the same to each. */
const APPS: readonly App[] = [
  {
    name: `a CommonJS app of ${MODULES} modules`,
    write: writeModules,
    rounds: { check: 10, short: 40, full: 500 },
    warmUp: 10,
  },
  {
    name: 'an Express app with its own copy of Express',
    write: writeExpressApp,
    rounds: { check: 5, short: 60, full: 100 },
    warmUp: 4,
  },
]

/** How many small apps are already loaded when one more is loaded. */
const FEW = 100
const MANY: Record<Mode, number> = { check: 1000, short: 2000, full: 10_000 }
const GROWTH = { rounds: 20, warmUp: 4 }
const A_ROUND = 5
/** A load among many should take no longer than one among few; this much is noise. */
const FLAT = 1.25

/** Copies of one app, each loaded once by the router and once by a bare `require()`, in separate processes. */
export async function measure(mode: Mode): Promise<Measure[]> {
  const measures: Measure[] = []
  for (const app of APPS) measures.push(await measureOf(app, app.rounds[mode]))
  return [...measures, ...(await measureGrowth(MANY[mode]))]
}

/** Whether apps that are already loaded slow down a load or a reload. */
async function measureGrowth(many: number): Promise<Measure[]> {
  using sites = Sites.inMemory()
  const timedLoads = A_ROUND * (GROWTH.rounds + GROWTH.warmUp)
  const hosts = sites.add(many + timedLoads, SMALL_APP)
  const fresh = hosts.slice(many)
  const start = async (worker: Worker<RouterVerbs>, loaded: number): Promise<void> => {
    const options = { basePath: sites.base, maxApps: hosts.length }
    await worker.ask('start', { options, host: hosts[0] as string })
    await worker.ask('load', hosts.slice(0, loaded))
    // The router sets up its watches after a load.
    await delay(1000)
  }
  await using inFew = new Worker<RouterVerbs>('router-process')
  await using inMany = new Worker<RouterVerbs>('router-process')
  await Promise.all([start(inFew, FEW), start(inMany, many)])
  const among = (loaded: number): string => `${loaded} to ${loaded + timedLoads}`
  const measures: Measure[] = []
  for (const [what, verb] of [
    ['load', 'loadTimed'],
    ['reload', 'reloadTimed'],
  ] as const) {
    const timed = (worker: Worker<RouterVerbs>) => async (round: number) =>
      median(await worker.ask(verb, fresh.slice(A_ROUND * round, A_ROUND * (round + 1))))
    const samples = await interleaved({ few: timed(inFew), many: timed(inMany) }, GROWTH)
    measures.push({
      name: `${what} of a small app among ${among(many)}, against among ${among(FEW)}`,
      ...comparisonOf(samples.many, samples.few),
      limit: FLAT,
    })
  }
  return measures
}

async function measureOf({ name, write, warmUp }: App, rounds: number): Promise<Measure> {
  using sites = Sites.inMemory()
  const [first = ''] = sites.add(1, SMALL_APP)
  const copies = 2 * (rounds + warmUp)
  write(sites, hostOf(0))
  for (let copy = 1; copy < copies; copy++) sites.link(hostOf(copy), hostOf(0))
  await using router = new Worker<RouterVerbs>('router-process')
  await using bareNode = new Worker<RequireVerbs>('require-process')
  await router.ask('start', { options: { basePath: sites.base, maxApps: copies + 1 }, host: first })
  let copy = 0
  const { ours, bare } = await interleaved(
    {
      ours: async () => {
        await delay(SETTLE_MS)
        const [time] = await router.ask('loadTimed', [hostOf(copy++)])
        return time
      },
      bare: async () => {
        await delay(SETTLE_MS)
        return await bareNode.ask('requireTimed', sites.path(hostOf(copy++), 'app'))
      },
    },
    { rounds, warmUp },
  )
  return { name: `${name} against bare require()`, ...comparisonOf(ours, bare), limit: TARGET }
}

function comparisonOf(ours: Samples, others: Samples): Pick<Measure, 'unit' | 'ours' | 'beside' | 'note'> {
  const [own, other] = [median(present(ours)), median(present(others))]
  return {
    unit: '×',
    ours: figureOf(
      own / other,
      roundByRound(ours, others, (one, another) => one / another),
    ),
    beside: {},
    note: `${own.toFixed(2)} ms against ${other.toFixed(2)} ms`,
  }
}

function hostOf(copy: number): string {
  return `copy-${copy}.bench.test`
}

function writeExpressApp(sites: Sites, host: string): void {
  installExpress(sites.path(host, 'app'))
  sites.write(
    `${host}/app/index.js`,
    `const app = require('express')()\napp.get('/', (req, res) => res.end('hello'))\nmodule.exports = app\n`,
  )
}

function writeModules(sites: Sites, host: string): void {
  const names = Array.from({ length: MODULES - 1 }, (_, n) => `part-${n}`)
  for (const name of names) sites.write(`${host}/app/lib/${name}.js`, moduleSource(name))
  const requires = names.map(name => `require('./lib/${name}')`).join('\n')
  sites.write(`${host}/app/index.js`, `${requires}\nmodule.exports = (req, res) => res.end('hello')\n`)
}

function moduleSource(name: string): string {
  const functions = Array.from({ length: FUNCTIONS_PER_MODULE }, (_, n) => functionSource(n))
  return `'use strict'\nconst { join } = require('node:path')\nexports.path = join('${name}')\n${functions.join('')}`
}

function functionSource(n: number): string {
  return `
exports.format${n} = function format${n}(value, options = {}) {
  const { width = ${n}, fill = ' ' } = options
  if (typeof value !== 'string') throw new TypeError('a string is expected, not ' + typeof value)
  return value.padStart(width, fill).slice(0, width)
}
`
}
