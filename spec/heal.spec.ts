import assert from 'node:assert/strict'
import { utimesSync } from 'node:fs'
import { describe, it } from 'node:test'
import type { VhostErrorCode } from '../lib/index.ts'
import { Client } from './support/client.ts'
import { eventually, World } from './support/world.ts'

// Every way in which a release may fail to load: what served goes on serving, the reason is reported, and the site
// heals, with a change or without one.

const HOST = 'aries.test'
/** The package that a release needs and that `npm ci` brings. */
const PACKAGE = 'node_modules/needed'

type System = 'CommonJS' | 'ES modules'

interface Fault {
  readonly name: string
  readonly code: VhostErrorCode
  readonly cause: RegExp
  readonly on: readonly System[]
  /** Changes files below the release; `restore` undoes that. */
  spoil(site: Site): void
}

const both: System[] = ['CommonJS', 'ES modules']
const faults: Fault[] = [
  {
    name: 'a syntax error',
    code: 'ERR_VHOST_LOAD',
    cause: /SyntaxError/,
    on: both,
    spoil: site => site.writeLib('this is no {'),
  },
  {
    name: 'a throw',
    code: 'ERR_VHOST_LOAD',
    cause: /broken/,
    on: both,
    spoil: site => site.writeLib(`throw new Error("broken")${site.isModule ? '\nexport default 7' : ''}`),
  },
  {
    name: 'a file of lib/ that is not there yet',
    code: 'ERR_VHOST_LOAD',
    cause: /Cannot find module/,
    on: both,
    spoil: site => site.world.remove(site.lib),
  },
  {
    name: 'a missing dependency',
    code: 'ERR_VHOST_LOAD',
    cause: /Cannot find (module|package)/,
    on: both,
    spoil: site => site.world.remove(`${HOST}/${PACKAGE}`),
  },
  {
    name: 'no handler',
    code: 'ERR_VHOST_NO_HANDLER',
    cause: /^null$/,
    on: both,
    spoil: site => site.writeLib(site.isModule ? 'export default 7' : 'module.exports = 7'),
  },
  {
    name: 'a rejected promise',
    code: 'ERR_VHOST_LOAD',
    cause: /no database/,
    on: both,
    spoil: site => {
      const rejected = 'Promise.reject(new Error("no database"))'
      site.writeLib(site.isModule ? `export default ${rejected}` : `module.exports = ${rejected}`)
    },
  },
  {
    name: 'an endless top-level await',
    code: 'ERR_VHOST_LOAD_TIMEOUT',
    cause: /^null$/,
    on: ['ES modules'],
    spoil: site => site.writeLib('await new Promise(() => {})\nexport default 7'),
  },
]

/** An app whose handler comes from `lib/`, and which loads its own modules again for each request. */
class Site {
  readonly world: World
  readonly isModule: boolean

  constructor(world: World, system: System) {
    this.world = world
    this.isModule = system === 'ES modules'
    if (this.isModule) {
      this.#write(
        'app/index.mjs',
        'import "needed"\nimport handler from "./lib/part.mjs"\nexport default handler',
      )
    } else {
      this.#write('app/index.js', 'require("needed")\nmodule.exports = require("./lib/part.js")')
    }
    this.restore('first')
  }

  get lib(): string {
    return `${HOST}/app/lib/part.${this.isModule ? 'mjs' : 'js'}`
  }

  writeLib(source: string): void {
    this.#writeOwn('refused')
    this.world.write(this.lib, source)
  }

  /** Restores everything that a fault may have spoiled; the version does not change by that. */
  restore(answer: string): void {
    this.world.write(`${HOST}/${PACKAGE}/package.json`, '{ "name": "needed", "main": "main.js" }')
    this.world.write(`${HOST}/${PACKAGE}/main.js`, '')
    this.#writeOwn(answer)
    const [load, again] = this.isModule
      ? [`import * as own from './own.mjs'; export default`, `await import('./own.mjs')`]
      : [`const own = require('./own.js'); module.exports =`, `require('./own.js')`]
    this.world.write(
      this.lib,
      `${load} async (req, res) => res.end(own.name + (${again} === own ? '' : ' with code of another release'))`,
    )
  }

  /** Changes the version. */
  touch(): void {
    utimesSync(this.world.path(HOST, 'app'), new Date(), new Date())
  }

  #writeOwn(name: string): void {
    if (this.isModule) this.#write('app/lib/own.mjs', `export const name = '${name}'`)
    else this.#write('app/lib/own.js', `exports.name = '${name}'`)
  }

  #write(file: string, source: string): void {
    this.world.write(`${HOST}/${file}`, source)
  }
}

/** What serves meanwhile, and how the fault is mended. */
const BEFORE = ['an older release serves', 'nothing serves'] as const
const MENDED = ['by a change', 'without one'] as const
const WAYS = { 'with events': true, 'by looking': false }

describe('a release that does not load', { concurrency: 8 }, () => {
  for (const fault of faults) {
    for (const system of fault.on) {
      describe(`because of ${fault.name}, in ${system},`, { concurrency: 4 }, () => {
        for (const before of BEFORE) {
          for (const mended of MENDED) {
            for (const [way, watch] of Object.entries(WAYS)) {
              it(`if ${before}: heals ${mended}, ${way}`, async () => {
                const loadTimeout = fault.code === 'ERR_VHOST_LOAD_TIMEOUT' ? 2000 : 60_000
                await using world = await World.start({ updateInterval: 50, watch, loadTimeout })
                const site = new Site(world, system)
                await heal(site, fault, before, mended)
              })
            }
          }
        }
      })
    }
  }
})

async function heal(
  site: Site,
  fault: Fault,
  before: (typeof BEFORE)[number],
  mended: (typeof MENDED)[number],
): Promise<void> {
  const { world } = site
  const isServed = before === 'an older release serves'
  if (isServed) assert.equal(await world.body(HOST), 'first')
  const older = world.vhosts.stats().vhosts[0]?.version ?? null
  fault.spoil(site)
  site.touch()
  const failed = isServed ? 'first' : String(fault.code === 'ERR_VHOST_LOAD_TIMEOUT' ? 503 : 500)
  await using client = new Client(world)
  await eventually(() => world.events('error').length > 0)
  await client.sees(failed)

  // The router tries again and again while requests come, so not every look finds it at rest.
  await eventually(async () => {
    const why = await world.vhosts.why(HOST)
    const [row] = world.vhosts.stats().vhosts
    assert.deepEqual([row?.version, row?.state], [older, isServed ? 'serving older' : 'failed'])
    assert.deepEqual([why.state, why.status], [row?.state, isServed ? 200 : Number(failed)])
    for (const told of [row?.lastError, why.error]) {
      assert.deepEqual([told?.code, told?.version], [fault.code, why.version])
      assert.match(String(told?.cause), fault.cause)
    }
  })

  site.restore('mended')
  if (mended === 'by a change') site.touch()
  await client.sees('mended')
  await eventually(async () => {
    const [row, ...others] = world.vhosts.stats().vhosts
    assert.deepEqual(others, [])
    assert.deepEqual([row?.state, row?.lastError], ['serving', null])
    assert.equal(row?.version, (await world.vhosts.why(HOST)).version)
  })
  assert.deepEqual(client.story, [failed, 'mended'])
  assert.ok(world.events('error').every(({ serving }) => (serving !== undefined) === isServed))
}

/** What becomes of a deploy if the app that it replaces does not end well. */
const ends: { name: string; close: string; error?: RegExp }[] = [
  { name: 'throws', close: '() => { throw new Error("no end") }', error: /no end/ },
  { name: 'rejects', close: 'async () => { throw new Error("no end") }', error: /no end/ },
  { name: 'throws nothing', close: '() => { throw undefined }', error: /close\(\) of the app failed/ },
  {
    name: 'hangs',
    close: '() => new Promise(() => {})',
    error: /close\(\) of the app took longer than 10000 ms/,
  },
  { name: 'is no function', close: '"later"' },
]

describe('a release that replaces one whose close()', { concurrency: 8 }, () => {
  for (const { name, close, error } of ends) {
    it(`${name}: serves at once, and so does the next one`, { timeout: 60_000 }, async () => {
      await using world = await World.start({ updateInterval: 50 })
      const deploy = (answer: string): void =>
        world.write(
          `${HOST}/app/index.js`,
          `module.exports = (req, res) => res.end('${answer}'); module.exports.close = ${close}`,
        )
      deploy('1')
      await using client = new Client(world)
      await client.sees('1')
      for (const answer of ['2', '3']) {
        deploy(answer)
        await client.sees(answer, 30_000)
      }
      const replaced = 2
      await eventually(() => assert.equal(world.events('evict').length, replaced), 30_000)
      assert.deepEqual(client.story, ['1', '2', '3'])
      const errors = world.events('error').map(about => String(about.error))
      assert.equal(errors.length, error ? replaced : 0, errors.join())
      if (error) for (const told of errors) assert.match(told, error)
    })
  }

  it('is called while requests stream, which are then cut: it serves', async () => {
    await using world = await World.start({ updateInterval: 50, drainTimeout: 100 })
    const deploy = (answer: string): void =>
      world.write(
        `${HOST}/app/index.js`,
        `let isClosed = false
         module.exports = (req, res) => {
           if (req.url === '/') return res.end('${answer}')
           const timer = setInterval(() => res.write(isClosed ? 'closed' : '.'), 5)
           res.on('close', () => clearInterval(timer))
         }
         module.exports.close = () => { isClosed = true; throw new Error('streams were cut') }`,
      )
    deploy('1')
    await using client = new Client(world)
    await client.sees('1')
    const stream = world.get(HOST, '/stream').catch(error => error.code)
    await eventually(() => world.vhosts.stats().totals.inFlight > 0)
    deploy('2')
    await client.sees('2')
    assert.equal(await stream, 'ECONNRESET')
    await eventually(() => assert.equal(world.events('evict').length, 1))
    assert.match(String(world.events('error')[0]?.error), /streams were cut/)
    assert.deepEqual(client.story, ['1', '2'])
    assert.equal(world.vhosts.stats().totals.draining, 0)
  })
})
