import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { World } from '../support/world.ts'
import { figureOf, median } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import { interleaved, present, roundByRound } from './rounds.ts'

const MODULES = 30
const FUNCTIONS_PER_MODULE = 20
const ROUNDS: Record<Mode, number> = { check: 10, short: 40, full: 500 }
const WARM_UP = 10
const SETTLE_MS = 20
const TARGET = 1.1

const require = createRequire(import.meta.url)

/** Copies of one app, each loaded once: by the router, and by a bare `require()` in the same process. */
export async function measure(mode: Mode): Promise<Measure[]> {
  const rounds = { rounds: ROUNDS[mode], warmUp: WARM_UP }
  const copies = 2 * (rounds.rounds + rounds.warmUp)
  await using world = await World.start({ maxApps: copies })
  for (let copy = 0; copy < copies; copy++) writeApp(world, hostOf(copy))
  let copy = 0
  const { ours, bare } = await interleaved(
    {
      ours: () => timedAlone(async () => await world.vhosts.load(hostOf(copy++))),
      bare: () => timedAlone(() => require(world.path(hostOf(copy++), 'app'))),
    },
    rounds,
  )
  const ratio = median(present(ours)) / median(present(bare))
  return [
    {
      name: `a CommonJS app of ${MODULES} modules against bare require()`,
      unit: '×',
      ours: figureOf(
        ratio,
        roundByRound(ours, bare, (one, other) => one / other),
      ),
      beside: {},
      limit: TARGET,
      note: `${median(present(ours)).toFixed(2)} ms against ${median(present(bare)).toFixed(2)} ms`,
    },
  ]
}

function hostOf(copy: number): string {
  return `copy-${copy}.bench.test`
}

async function timedAlone(load: () => unknown): Promise<number> {
  // The router sets up its watches after a load.
  await delay(SETTLE_MS)
  const start = performance.now()
  const loaded = await load()
  const end = performance.now()
  if (loaded === undefined) throw new Error('nothing was loaded')
  return end - start
}

function writeApp(world: World, host: string): void {
  const names = Array.from({ length: MODULES - 1 }, (_, n) => `part-${n}`)
  for (const name of names) world.write(`${host}/app/lib/${name}.js`, moduleSource(name))
  const requires = names.map(name => `require('./lib/${name}')`).join('\n')
  world.write(`${host}/app/index.js`, `${requires}\nmodule.exports = (req, res) => res.end('hello')\n`)
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
