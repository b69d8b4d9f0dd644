import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import type { VhostRouterOptions } from '../lib/index.ts'
import { installExpress } from './support/own-express.ts'
import { eventually, World } from './support/world.ts'

const require = createRequire(import.meta.url)
const HOST = 'aries.test'

interface Globals {
  /** An object per generation of an app, reachable only from the app's modules. */
  generations: WeakRef<object>[]
  evaluated: Record<string, number>
}
const globals = globalThis as unknown as Globals

async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.()
    await new Promise(setImmediate)
  }
}

async function heapUsed(): Promise<number> {
  await collectGarbage()
  return process.memoryUsage().heapUsed
}

async function aliveGenerations(): Promise<number> {
  await collectGarbage()
  return globals.generations.filter(ref => ref.deref()).length
}

/** A world in which only reload() and eviction make anything load anew. */
async function still(options: VhostRouterOptions = {}): Promise<World> {
  assert.ok(globalThis.gc, 'needs --expose-gc')
  globals.generations = []
  globals.evaluated = {}
  return await World.start({ watch: false, getVersion: () => 1, ...options })
}

/** Loads an app, and another one in its place, many times. */
async function alternate(
  world: World,
  rounds: number,
  ask?: (host: string) => Promise<unknown>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const host of [HOST, 'taurus.test']) {
      await world.vhosts.load(host)
      await ask?.(host)
    }
  }
}

describe('memory', () => {
  describe('is given back by CommonJS apps that are reloaded 100 times:', () => {
    const TRACKED = `
      const token = { bytes: Buffer.alloc(1000) }
      globalThis.generations.push(new WeakRef(token))
      exports.token = token`
    for (const [name, source] of [
      ['a function', `module.exports = (req, res) => res.end(String(token.bytes.length))`],
      [
        'a server that listens',
        `require('node:http').createServer((req, res) => res.end(String(token.bytes.length))).listen(80)`,
      ],
      [
        'several servers and a handler',
        `
        for (const port of [80, 81]) require('node:http').createServer((req, res) => res.end(String(token))).listen(port)
        module.exports = (req, res) => res.end(String(token.bytes.length))`,
      ],
      [
        'listeners on process',
        `
        process.on('warning', () => token)
        process.once('exit', () => token)
        module.exports = (req, res) => res.end(String(token.bytes.length))`,
      ],
      [
        'a server, listeners on process, and a timer left behind that holds neither',
        `
        process.on('warning', () => token)
        require('node:http').createServer((req, res) => res.end(String(token.bytes.length))).listen(80)
        setInterval(Date.now, 2 ** 30).unref()`,
      ],
      [
        'an app of Express',
        `
        const app = require(${JSON.stringify(require.resolve('express'))})()
        app.get('/', (req, res) => res.end(String(token.bytes.length)))
        module.exports = app`,
      ],
      ['a promise', `module.exports = (async () => (req, res) => res.end(String(token.bytes.length)))()`],
    ] as const) {
      it(name, async () => {
        await using world = await still()
        world.write(`${HOST}/app/index.js`, `const { token } = require('./lib')\n${source}`)
        world.write(`${HOST}/app/lib/index.js`, `module.exports = require('./token.js')`)
        world.write(`${HOST}/app/lib/token.js`, TRACKED)
        assert.equal(await world.body(HOST), '1000')
        for (let round = 0; round < 100; round++) {
          await world.vhosts.reload(HOST)
          if (round % 10 === 0) assert.equal(await world.body(HOST), '1000')
        }
        await eventually(() => world.vhosts.stats().totals.draining === 0)
        assert.equal(globals.generations.length, 101)
        // The generation that serves, and those still held by a module outside the release or by the last stack.
        await eventually(async () => (await aliveGenerations()) <= 4)
        assert.equal(world.vhosts.stats().staleGraphs, 0)
      })
    }

    it('with an idleTimeout of an hour', async () => {
      await using world = await still({ idleTimeout: 3_600_000 })
      world.write(`${HOST}/app/index.js`, `${TRACKED}\nmodule.exports = (req, res) => res.end(String(token))`)
      for (let round = 0; round < 100; round++) {
        await world.vhosts.reload(HOST)
        await world.body(HOST)
      }
      assert.equal(globals.generations.length, 100)
      await eventually(async () => (await aliveGenerations()) <= 4)
    })

    it('to which many names lead, each asked once', async () => {
      await using world = await still()
      world.write(`${HOST}/app/index.js`, `${TRACKED}; module.exports = (req, res) => res.end('served')`)
      assert.equal(await world.body(HOST), 'served')
      for (let round = 0; round < 20; round++) {
        world.link(`${round}.test`, HOST)
        assert.equal(await world.body(`${round}.test`), 'served')
        await world.vhosts.reload(HOST)
      }
      await eventually(() => world.vhosts.stats().totals.draining === 0)
      assert.equal(globals.generations.length, 21)
      await eventually(async () => (await aliveGenerations()) <= 4)
    })

    it('when they were evicted', async () => {
      await using world = await still({ maxApps: 1 })
      world.site('taurus.test', 'taurus')
      world.write(`${HOST}/app/index.js`, `${TRACKED}; module.exports = (req, res) => res.end(String(token))`)
      await alternate(world, 100)
      assert.equal(globals.generations.length, 100)
      await eventually(async () => (await aliveGenerations()) <= 4)
    })

    it('when their loads failed', async () => {
      await using world = await still()
      world.write(`${HOST}/app/index.js`, `require('./lib')\nthrow new Error('broken')`)
      world.write(`${HOST}/app/lib.js`, TRACKED)
      for (let round = 0; round < 100; round++) {
        await assert.rejects(world.vhosts.reload(HOST), { code: 'ERR_VHOST_LOAD' })
        // An error holds the functions of its stack.
        world.told.length = 0
      }
      // A reload that finds an earlier load under way starts another one.
      assert.ok(globals.generations.length >= 100)
      await eventually(async () => (await aliveGenerations()) <= 4)
    })
  })

  describe('is given back by CommonJS apps with a package that makes Node require an ES module, each at a path of its own,', () => {
    // As packages that Express depends on do: Node keeps the ES module, and everything it imports.
    function writeRelease(world: World, folder: string, end = ''): void {
      world.write(
        `${folder}/node_modules/dual/require.mjs`,
        `import inner from './inner.js'\nexport default inner`,
      )
      world.write(`${folder}/node_modules/dual/inner.js`, 'exports.isKept = true')
      world.write(`${folder}/app/token.js`, `globalThis.generations.push(new WeakRef(exports.token = {}))`)
      world.write(
        `${folder}/app/index.js`,
        `const { token } = require('./token')
        const dual = require('../node_modules/dual/require.mjs')
        module.exports = (req, res) => res.end(String(dual.default.isKept && token))
        ${end}`,
      )
    }

    async function isGivenBack(world: World, rounds: number): Promise<void> {
      await eventually(() => world.vhosts.stats().totals.draining === 0)
      assert.ok(globals.generations.length >= rounds)
      await eventually(async () => (await aliveGenerations()) <= 4)
      assert.equal(world.vhosts.stats().staleGraphs, 0)
    }

    async function flip(rounds: number, write: (world: World, folder: string) => void): Promise<void> {
      await using world = await still()
      for (let round = 0; round < rounds; round++) {
        write(world, `releases/${round}`)
        world.link(HOST, `releases/${round}`)
        await world.vhosts.reload(HOST)
        assert.equal(await world.body(HOST), '[object Object]')
      }
      await isGivenBack(world, rounds)
    }

    it('when links were flipped', async () => await flip(20, writeRelease))

    it('when links were flipped, with Express itself', async () => {
      await flip(8, (world, folder) => {
        installExpress(world.path(folder, 'app'))
        world.write(
          `${folder}/app/index.js`,
          `const token = {}
          globalThis.generations.push(new WeakRef(token))
          const app = require('express')()
          app.get('/', (req, res) => res.end(String(token)))
          module.exports = app`,
        )
      })
    })

    it('when they were reloaded', async () => {
      await using world = await still()
      writeRelease(world, HOST)
      await world.vhosts.load(HOST)
      for (let round = 0; round < 20; round++) await world.vhosts.reload(HOST)
      await isGivenBack(world, 21)
    })

    it('when they were evicted', async () => {
      await using world = await still({ maxApps: 1 })
      for (let round = 0; round < 20; round++) {
        writeRelease(world, `${round}.test`)
        assert.equal(await world.body(`${round}.test`), '[object Object]')
      }
      await isGivenBack(world, 20)
    })

    it('when their loads do not end', async () => {
      await using world = await still({ loadTimeout: 50 })
      for (let round = 0; round < 10; round++) {
        writeRelease(world, `${round}.test`, 'module.exports = new Promise(() => {})')
        await assert.rejects(world.vhosts.load(`${round}.test`), { code: 'ERR_VHOST_LOAD_TIMEOUT' })
        world.told.length = 0
      }
      await isGivenBack(world, 10)
    })

    it('when they were evicted during a reload that failed', async () => {
      await using world = await still({ maxApps: 1 })
      world.site('other.test', 'other')
      for (let round = 0; round < 10; round++) {
        const host = `${round}.test`
        writeRelease(world, host)
        await world.vhosts.load(host)
        let fail = (_: Error): void => {}
        Object.assign(globalThis, { failed: new Promise((_, reject) => (fail = reject)) })
        world.write(`${host}/app/index.js`, `globalThis.begun = true; module.exports = globalThis.failed`)
        const reloading = assert.rejects(world.vhosts.reload(host), { code: 'ERR_VHOST_LOAD' })
        await eventually(() => 'begun' in globalThis)
        Reflect.deleteProperty(globalThis, 'begun')
        const evicted = world.event('evict')
        await world.body('other.test')
        await evicted
        fail(new Error('broken'))
        await reloading
        world.told.length = 0
      }
      await isGivenBack(world, 10)
    })

    it('when their loads failed', async () => {
      await using world = await still()
      for (let round = 0; round < 20; round++) {
        writeRelease(world, `${round}.test`, `throw new Error('broken')`)
        await assert.rejects(world.vhosts.load(`${round}.test`), { code: 'ERR_VHOST_LOAD' })
        world.told.length = 0
        world.remove(`${round}.test`)
      }
      await isGivenBack(world, 20)
    })
  })

  describe('does not grow while ES module apps that did not change are evicted and loaded again', () => {
    const counting = (host: string): string =>
      `globalThis.evaluated['${host}'] = (globalThis.evaluated['${host}'] ?? 0) + 1`

    it('10,000 times', { timeout: 120_000 }, async t => {
      await using world = await still({ maxApps: 1 })
      for (const host of [HOST, 'taurus.test']) {
        world.write(
          `${host}/app/index.mjs`,
          `import './lib.mjs'\nexport default (req, res) => res.end('${host}')\nprocess.on('warning', () => {})`,
        )
        world.write(`${host}/app/lib.mjs`, counting(host))
      }
      await alternate(world, 500)
      world.told.length = 0
      const before = await heapUsed()
      const start = performance.now()
      for (let rounds = 500; rounds < 5000; rounds += 500) {
        await alternate(world, 500)
        assert.equal(world.told.filter(({ event }) => event === 'load').length, 1000)
        world.told.length = 0
      }
      const grown = (await heapUsed()) - before
      t.diagnostic(`${grown} bytes more after ${Math.round(performance.now() - start)} ms`)
      // One more graph at each load would be 9,000 times several kilobytes.
      assert.ok(grown < 1_000_000, `the heap grew by ${grown} bytes`)
      assert.deepEqual(globals.evaluated, { [HOST]: 1, 'taurus.test': 1 })
      assert.equal(world.vhosts.stats().staleGraphs, 0)
    })

    it('nor do ES modules that a CommonJS app imports', async () => {
      await using world = await still({ maxApps: 1 })
      for (const host of [HOST, 'taurus.test']) {
        world.write(
          `${host}/app/index.js`,
          `module.exports = async (req, res) => { await import('./lib.mjs'); res.end('${host}') }`,
        )
        world.write(`${host}/app/lib.mjs`, counting(host))
      }
      await alternate(world, 100, async host => assert.equal(await world.body(host), host))
      assert.deepEqual(globals.evaluated, { [HOST]: 1, 'taurus.test': 1 })
      assert.equal(world.vhosts.stats().staleGraphs, 0)
    })
  })

  describe('staleGraphs counts', () => {
    const app = `export default (req, res) => res.end('answer')`
    const stale = (world: World): number => world.vhosts.stats().staleGraphs

    it('the graphs of ES module apps that were replaced', async () => {
      await using world = await still()
      world.write(`${HOST}/app/index.mjs`, app)
      await world.vhosts.load(HOST)
      assert.equal(stale(world), 0)
      for (let round = 1; round <= 3; round++) {
        const evicted = world.event('evict')
        await world.vhosts.reload(HOST)
        await evicted
        assert.equal(stale(world), round)
      }
    })

    it('those of apps that were deleted', async () => {
      await using world = await World.start()
      world.write(`${HOST}/app/index.mjs`, app)
      await world.vhosts.load(HOST)
      const evicted = world.event('evict')
      world.remove(HOST)
      await evicted
      assert.equal(stale(world), 1)
    })

    it('those whose close() ran, even if nothing else changed', async () => {
      await using world = await still({ maxApps: 1 })
      world.site('taurus.test', 'taurus')
      world.write(`${HOST}/app/index.mjs`, `${app}\nexport const close = () => {}`)
      await alternate(world, 3)
      await eventually(() => stale(world) === 3)
    })

    it('those of loads that failed', async () => {
      await using world = await still()
      world.write(`${HOST}/app/index.mjs`, `throw new Error('broken')`)
      for (let round = 1; round <= 3; round++) {
        await assert.rejects(world.vhosts.reload(HOST))
        assert.equal(stale(world), round)
      }
    })

    it('those that a CommonJS app imported, at its load or later', async () => {
      await using world = await still()
      world.write(
        `${HOST}/app/index.js`,
        `module.exports = async (req, res) => { if (req.url === '/late') await import('./lib.mjs'); res.end('answer') }`,
      )
      world.write(`${HOST}/app/lib.mjs`, '')
      for (const [path, expected] of [
        ['/', 0],
        ['/late', 1],
        ['/', 1],
      ] as const) {
        await world.body(HOST, path)
        const evicted = world.event('evict')
        await world.vhosts.reload(HOST)
        await evicted
        assert.equal(stale(world), expected)
      }
    })

    for (const isDeleted of [true, false]) {
      const how = isDeleted ? 'deleted' : 'left by their name'
      it(`those of apps that were evicted and then ${how}, although Node lets their CommonJS go`, async () => {
        await using world = await still({ maxApps: 1 })
        world.site('taurus.test', 'taurus')
        for (let round = 0; round < 20; round++) {
          world.write(
            `releases/${round}/app/index.js`,
            `const token = {}
            globalThis.generations.push(new WeakRef(token))
            const lib = import('./lib.mjs')
            module.exports = (req, res) => lib.then(() => res.end(String(token)))`,
          )
          world.write(`releases/${round}/app/lib.mjs`, '')
          world.link(HOST, `releases/${round}`)
          assert.equal(await world.body(HOST), '[object Object]')
          await world.vhosts.load('taurus.test')
          if (isDeleted) world.remove(`releases/${round - 1}`)
        }
        await eventually(() => assert.ok(stale(world) >= 18))
        await eventually(async () => assert.ok((await aliveGenerations()) <= 4))
      })
    }

    it('no CommonJS, which Node lets go', async () => {
      await using world = await still()
      world.site(HOST, 'answer')
      await world.vhosts.load(HOST)
      for (let round = 0; round < 3; round++) await world.vhosts.reload(HOST)
      await eventually(() => world.vhosts.stats().totals.draining === 0)
      assert.equal(stale(world), 0)
    })
  })
})
