import assert from 'node:assert/strict'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect } from 'node:net'
import { describe, it } from 'node:test'
import type { VhostError } from '../../lib/index.ts'
import { LoadScope } from '../../lib/launch/caught-listen.ts'
import { CLOSE_TIMEOUT } from '../../lib/launch/launch.ts'
import { freePort } from '../support/free-port.ts'
import { heapInUse } from '../support/process-state.ts'
import { eventually, World } from '../support/world.ts'

const { resolve, cache } = createRequire(import.meta.url)
const HOST = 'aries.test'

/** What the apps of these specs leave for the spec to see. */
interface Seen {
  [name: string]: unknown
}
const globals = globalThis as unknown as { seen: Seen }

/** Asserts that nobody listens on a port. */
async function assertFree(port: number): Promise<void> {
  const socket = connect(port)
  const [error] = await once(socket, 'error')
  assert.match(error.code ?? error.errors[0].code, /ECONNREFUSED/)
}

describe('LoadScope', () => {
  describe('catches listen(), whatever its arguments, and binds nothing:', () => {
    const shapes: [shape: string, address: string][] = [
      ['port', `{ address: '::', family: 'IPv6', port }`],
      ['String(port)', `{ address: '::', family: 'IPv6', port }`],
      ['port, callback', `{ address: '::', family: 'IPv6', port }`],
      [`port, '127.0.0.1'`, `{ address: '127.0.0.1', family: 'IPv4', port }`],
      [`port, '127.0.0.1', callback`, `{ address: '127.0.0.1', family: 'IPv4', port }`],
      [`port, '127.0.0.1', 511, callback`, `{ address: '127.0.0.1', family: 'IPv4', port }`],
      ['port, 511, callback', `{ address: '::', family: 'IPv6', port }`],
      ['{ port }', `{ address: '::', family: 'IPv6', port }`],
      [`{ port, host: '::1', backlog: 5 }, callback`, `{ address: '::1', family: 'IPv6', port }`],
      ['{ path: file }, callback', 'file'],
      ['file', 'file'],
      ['file, callback', 'file'],
      ['0, callback', `{ address: '::', family: 'IPv6', port: 0 }`],
      ['callback', `{ address: '::', family: 'IPv6', port: 0 }`],
      ['', `{ address: '::', family: 'IPv6', port: 0 }`],
      ['undefined, callback', `{ address: '::', family: 'IPv6', port: 0 }`],
      ['null, callback', `{ address: '::', family: 'IPv6', port: 0 }`],
    ]
    for (const [shape, address] of shapes) {
      it(`listen(${shape})`, async () => {
        await using world = await World.start()
        const port = await freePort()
        const file = world.path('socket')
        globals.seen = {}
        world.write(
          `${HOST}/app/server.js`,
          `
          const port = ${port}, file = ${JSON.stringify(file)}, seen = globalThis.seen, assert = require('node:assert')
          const callback = () => { seen.callback = true }
          const server = require('node:http').createServer((req, res) => res.end('answer'))
          server.on('listening', () => { seen.event = server.listening })
          seen.isItself = server.listen(${shape}) === server
          seen.isAtOnce = server.listening && !seen.event
          assert.deepEqual(server.address(), ${address})`,
        )
        assert.equal(await world.body(HOST), 'answer')
        const hasCallback = shape.includes('callback')
        assert.deepEqual(globals.seen, {
          isItself: true,
          isAtOnce: true,
          ...(hasCallback && { callback: true }),
          event: true,
        })
        await assertFree(port)
        assert.equal(existsSync(file), false)
      })
    }
  })

  describe('tells the app that it listens before the first request comes', () => {
    for (const [name, file, source] of [
      ['which exports nothing', 'server.js', 'server.listen(3000, () => { isTold = true })'],
      [
        'which exports its server',
        'server.js',
        'module.exports = server.listen(3000, () => { isTold = true })',
      ],
      [
        'which exports a handler',
        'server.js',
        'server.listen(3000, () => { isTold = true }); module.exports = handler',
      ],
      ['in an ES module', 'server.mjs', 'server.listen(3000, () => { isTold = true })'],
    ] as const) {
      it(name, async () => {
        await using world = await World.start()
        const http =
          file === 'server.mjs' ? `import http from 'node:http'` : `const http = require('node:http')`
        world.write(
          `${HOST}/app/${file}`,
          `${http}
          let isTold = false
          const handler = (req, res) => res.end(String(isTold))
          const server = http.createServer(handler)
          ${source}`,
        )
        assert.equal(await world.body(HOST), 'true')
      })
    }
  })

  it('prevents an app from forking the program that serves it, which itself may fork', async () => {
    await using world = await World.start()
    world.write('worker.js', 'process.exit()')
    cluster.setupPrimary({ exec: world.path('worker.js') })
    world.write(
      `${HOST}/app/index.js`,
      `
      const cluster = require('node:cluster')
      if (cluster.isPrimary) cluster.fork()
      else require('node:http').createServer((req, res) => res.end('answer')).listen(3000)`,
    )
    await assert.rejects(world.vhosts.load(HOST), ({ cause }: VhostError) =>
      /fork\(\) is not available/.test(String(cause)),
    )
    assert.deepEqual(Object.keys(cluster.workers ?? {}), [])
    const [code] = await once(cluster.fork(), 'exit')
    assert.equal(code, 0)
  })

  it('lets the app close its server, which then knows that it is closed', async () => {
    await using world = await World.start()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.js`,
      `
      const server = require('node:http').createServer((req, res) => {
        server.close(error => { globalThis.seen.closed = [error, server.listening] })
        res.end('last words')
      }).listen(80)
      server.on('close', () => { globalThis.seen.times = (globalThis.seen.times ?? 0) + 1 })`,
    )
    assert.equal(await world.body(HOST), 'last words')
    await eventually(() => globals.seen.closed !== undefined)
    assert.deepEqual(globals.seen, { closed: [undefined, false], times: 1 })
  })

  it('never emits listening if the app closed at once', async () => {
    await using world = await World.start()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.js`,
      `
      const server = require('node:http').createServer().listen(80, () => { globalThis.seen.listening = true })
      server.close()
      module.exports = (req, res) => res.end('answer')`,
    )
    assert.equal(await world.body(HOST), 'answer')
    assert.deepEqual(globals.seen, {})
  })

  it('tells a server that it is closed when the app is disposed, once', async () => {
    await using world = await World.start()
    globals.seen = { closed: 0 }
    for (const [folder, code] of [
      ['listens', 'server.listen(80)'],
      ['exports', 'module.exports = server'],
      ['does-both', 'module.exports = server.listen(80)'],
      ['stands-beside', `server.listen(80); module.exports = (req, res) => res.end('answer')`],
      ['closes-itself', 'module.exports = { app: server.listen(80), close: () => server.close() }'],
      [
        'is-second',
        `require('node:http').createServer((req, res) => res.end('answer')).listen(80); server.listen(81)`,
      ],
    ]) {
      world.write(
        `${folder}.${HOST}/app/index.js`,
        `
        const server = require('node:http').createServer((req, res) => res.end('answer'))
        server.on('close', () => { globalThis.seen.closed++ })
        ${code}`,
      )
      assert.equal(await world.body(`${folder}.${HOST}`), 'answer', folder)
      assert.equal(globals.seen.closed, 0, folder)
      world.remove(`${folder}.${HOST}`)
      await world.event('evict')
      await eventually(() => globals.seen.closed === 1)
      globals.seen.closed = 0
    }
  })

  for (const [when, end] of [
    ['is used again no more', world => world.vhosts.reload(HOST)],
    ['is there when the router is closed', world => world.vhosts.close()],
  ] as [string, (world: World) => Promise<unknown>][]) {
    it(`tells a server that it is closed when an ES module app that was evicted ${when}`, async () => {
      await using world = await World.start({ maxApps: 1 })
      globals.seen = { closed: 0 }
      world.site('first.test', 'first')
      world.write(
        `${HOST}/app/index.mjs`,
        `import { createServer } from 'node:http'
        const server = createServer().listen(80)
        server.on('close', () => { globalThis.seen.closed++ })
        export default (req, res) => res.end('answer')`,
      )
      await world.body(HOST)
      await world.body('first.test')
      await eventually(() => world.events('evict').length === 1)
      assert.equal(globals.seen.closed, 0)
      await end(world)
      await eventually(() => globals.seen.closed === 1)
    })
  }

  describe('makes the server that listens the handler:', () => {
    for (const express of ['express', 'express4']) {
      it(`app.listen() of ${express}, unchanged`, async () => {
        await using world = await World.start()
        const port = await freePort()
        world.write(
          `${HOST}/app/app.js`,
          `
          const express = require(${JSON.stringify(resolve(express))})
          const app = express()
          app.get('/', (req, res) => res.send('hello ' + req.query.name))
          const server = app.listen(${port}, () => { globalThis.seen = server.address().port })`,
        )
        assert.equal(await world.body(HOST, '/?name=you'), 'hello you')
        assert.equal(globals.seen, port)
        assert.equal((await world.get(HOST, '/none')).status, 404)
        assert.match(await world.body(HOST, '/none'), /Cannot GET \/none/)
        await assertFree(port)
      })
    }

    it('in an ES module', async () => {
      await using world = await World.start()
      const port = await freePort()
      world.write(`${HOST}/app/late.mjs`, 'await new Promise(resolve => setTimeout(resolve, 10))')
      world.write(
        `${HOST}/app/index.mjs`,
        `
        import http from 'node:http'
        import './late.mjs'
        await new Promise(resolve => setTimeout(resolve, 10))
        http.createServer((req, res) => res.end('answer')).listen(${port})`,
      )
      assert.equal(await world.body(HOST), 'answer')
      await assertFree(port)
    })

    it('late, when what it waited for is there', async () => {
      await using world = await World.start()
      const port = await freePort()
      world.write(
        `${HOST}/app/index.js`,
        `
        async function main() {
          await new Promise(resolve => setTimeout(resolve, 50))
          require('node:http').createServer((req, res) => res.end('answer')).listen(${port})
        }
        main()`,
      )
      assert.equal(await world.body(HOST), 'answer')
      await assertFree(port)
    })

    for (const [file, hooks] of [
      ['index.js', 'exports.close = exports.upgrade = () => {}'],
      ['index.mjs', 'export const close = () => {}; export const upgrade = () => {}'],
    ]) {
      it(`late, in ${file} that exports hooks alone`, async () => {
        await using world = await World.start()
        world.write(
          `${HOST}/app/${file}`,
          `${hooks}
          import('node:http').then(async ({ createServer }) => {
            await new Promise(resolve => setTimeout(resolve, 50))
            createServer((req, res) => res.end('answer')).listen(80)
          })`,
        )
        assert.equal(await world.body(HOST), 'answer')
      })
    }

    it('made for handmade requests, at once or in an event of another module', async () => {
      await using world = await World.start()
      world.write(
        `${HOST}/app/index.js`,
        `
        const events = new (require('node:events'))()
        events.once('ready', () => require('node:http').createServer().on('request', (req, res) => res.end('answer')).listen(80))
        require('node:fs').readFile(__filename, () => events.emit('ready'))`,
      )
      assert.equal(await world.body(HOST), 'answer')
    })

    it('of https', async () => {
      await using world = await World.start()
      const port = await freePort()
      world.write(
        `${HOST}/app/index.js`,
        `require('node:https').createServer((req, res) => res.end('answer')).listen(${port})`,
      )
      assert.equal(await world.body(HOST), 'answer')
      await assertFree(port)
    })

    it('the first of several; the others stay private', async () => {
      await using world = await World.start()
      const [port, adminPort, otherPort] = [await freePort(), await freePort(), await freePort()]
      world.write(
        `${HOST}/app/index.js`,
        `
        const http = require('node:http')
        require('node:net').createServer().listen(${otherPort})
        http.createServer((req, res) => res.end('public')).listen(${port})
        http.createServer((req, res) => res.end('private')).listen(${adminPort})`,
      )
      assert.equal(await world.body(HOST), 'public')
      for (const each of [port, adminPort, otherPort]) await assertFree(each)
    })

    it('but not if the module exports a handler', async () => {
      await using world = await World.start()
      const port = await freePort()
      world.write(
        `${HOST}/app/index.js`,
        `
        require('node:http').createServer((req, res) => res.end('server')).listen(${port})
        module.exports = (req, res) => res.end('export')`,
      )
      assert.equal(await world.body(HOST), 'export')
      await assertFree(port)
    })

    describe('in an ES module that listens and then awaits', () => {
      const listens = (text: string): string => `
        import http from 'node:http'
        import { on } from 'node:events'
        import { setTimeout } from 'node:timers/promises'
        const server = http.createServer()
        server.listen(80)
        const answers = res => res.end('${text}')`

      it('its own end', async () => {
        await using world = await World.start()
        world.write(
          `${HOST}/app/index.mjs`,
          `${listens('server')}
          server.on('request', (req, res) => answers(res))
          await new Promise(() => {})`,
        )
        assert.equal(await world.body(HOST), 'server')
      })

      it('its requests', async () => {
        await using world = await World.start()
        world.write(
          `${HOST}/app/index.mjs`,
          `${listens('server')}
          for await (const [, res] of on(server, 'request')) answers(res)`,
        )
        assert.equal(await world.body(HOST), 'server')
        assert.equal(await world.body(HOST), 'server')
      })

      it('and fails later than it is waited for: it serves on', async () => {
        await using world = await World.start()
        world.write(
          `${HOST}/app/index.mjs`,
          `${listens('server')}
          server.on('request', (req, res) => answers(res))
          await new Promise((_, reject) => process.once('spec:fail', () => reject(new Error('late'))))`,
        )
        assert.equal(await world.body(HOST), 'server')
        process.emit('spec:fail' as never)
        assert.equal(await world.body(HOST), 'server')
        assert.deepEqual(world.events('error'), [])
      })

      it('but not if it exports a handler a moment later, or throws', async () => {
        await using world = await World.start()
        world.write(
          `exports.${HOST}/app/index.mjs`,
          `${listens('server')}
          await setTimeout(100)
          export default (req, res) => res.end('export')`,
        )
        world.write(
          `throws.${HOST}/app/index.mjs`,
          `${listens('server')}
          await setTimeout(100)
          throw new Error('broken')`,
        )
        assert.equal(await world.body(`exports.${HOST}`), 'export')
        assert.equal((await world.get(`throws.${HOST}`)).status, 500)
        assert.match(String((world.errors[0] as VhostError).cause), /broken/)
      })

      it('nor if an export is asked for by name', async () => {
        await using world = await World.start({ exportName: 'site' })
        world.write(
          `${HOST}/app/index.mjs`,
          `${listens('server')}
          await setTimeout(2500)
          export const site = (req, res) => res.end('export')`,
        )
        assert.equal(await world.body(HOST), 'export')
      })
    })

    it('if what the module exports is no handler', async () => {
      await using world = await World.start()
      world.write(
        `${HOST}/app/index.js`,
        `
        require('node:http').createServer((req, res) => res.end('server')).listen(80)
        exports.port = 80`,
      )
      assert.equal(await world.body(HOST), 'server')
    })
  })

  it('also catches what the app listens on after its load', async () => {
    await using world = await World.start()
    const port = await freePort()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.js`,
      `
      module.exports = (req, res) => res.end('export')
      setTimeout(() => require('node:http').createServer().listen(${port}, () => { globalThis.seen.late = true }), 50)`,
    )
    assert.equal(await world.body(HOST), 'export')
    await eventually(() => globals.seen.late === true)
    await assertFree(port)
  })

  it('waits for an app that has had no time to listen, as others held up the process', async () => {
    await using world = await World.start()
    world.write(
      `${HOST}/app/index.js`,
      `
      const { createServer } = require('node:http')
      let turns = 0
      const turn = () => {
        if (turns++ === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2100)
        if (turns < 5) setTimeout(turn, 20)
        else createServer((req, res) => res.end('late')).listen(80)
      }
      setTimeout(turn, 20)`,
    )
    assert.equal(await world.body(HOST), 'late')
  })

  it('catches nothing of a load that failed, and binds nothing either', async () => {
    await using world = await World.start()
    const port = await freePort()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.js`,
      `
      require('node:http').createServer((req, res) => res.end('half')).listen(${port}).on('close', () => { globalThis.seen.closed = true })
      throw new Error('broken')`,
    )
    assert.equal((await world.get(HOST)).status, 500)
    assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_LOAD')
    await eventually(() => globals.seen.closed === true)
    await assertFree(port)
  })

  it('lets the rest of the process listen as usual, even while a vhost loads', async () => {
    await using world = await World.start()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.mjs`,
      `
      import http from 'node:http'
      await new Promise(resolve => { globalThis.seen.go = resolve })
      http.createServer((req, res) => res.end('vhost')).listen(80)`,
    )
    const answer = world.body(HOST)
    await eventually(() => globals.seen.go !== undefined)
    const own = http.createServer((_, res) => res.end('outer')).listen(0)
    await once(own, 'listening')
    const { port } = own.address() as AddressInfo
    const response = await fetch(`http://localhost:${port}`)
    assert.equal(await response.text(), 'outer')
    ;(globals.seen.go as () => void)()
    assert.equal(await answer, 'vhost')
    await new Promise(done => own.close(done))
    await assertFree(port)
  })

  it('lets a listener of the router really listen', async () => {
    await using world = await World.start()
    world.site(HOST, 'answer')
    const own = http.createServer()
    world.vhosts.on('load', () => own.listen(0))
    assert.equal(await world.body(HOST), 'answer')
    await eventually(() => own.listening)
    const socket = connect((own.address() as AddressInfo).port)
    await once(socket, 'connect')
    socket.destroy()
    await new Promise(done => own.close(done))
  })

  it(`gives upgrades to the server's listeners`, async () => {
    await using world = await World.start()
    const code = `
      const server = require('node:http').createServer((req, res) => res.end('answer'))
      server.on('upgrade', (req, socket) => {
        socket.end('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n' + req.url)
      })`
    world.write(`listens.${HOST}/app/index.js`, `${code}; server.listen(80)`)
    world.write(`exports.${HOST}/app/index.js`, `${code}; module.exports = server`)
    world.write(
      `beside.${HOST}/app/index.js`,
      `${code}; server.listen(80); module.exports = (req, res) => res.end('answer')`,
    )
    for (const name of ['listens', 'exports', 'beside']) {
      const host = `${name}.${HOST}`
      const received = await world.raw(
        `GET /chat HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
      )
      assert.match(received, /^HTTP\/1.1 101 .*\/chat$/s, name)
      assert.equal(await world.body(host), 'answer', name)
    }
  })

  describe('removes the listeners that an app adds to process:', () => {
    const count = (): number[] => ['warning', 'exit', 'express-van-spec'].map(e => process.listenerCount(e))
    const LISTENS = `
      process.on('warning', () => {})
      process.once('exit', () => {})
      process.on('express-van-spec', () => { globalThis.seen.told = (globalThis.seen.told ?? 0) + 1 })
      process.once('express-van-spec', () => { globalThis.seen.once = (globalThis.seen.once ?? 0) + 1 })`
    const before = (world: World): Promise<number[]> => {
      // Listeners of express-van and Node themselves are there after a first load.
      world.site('first.test', 'first')
      return world.body('first.test').then(count)
    }
    const plus = (counts: number[], ...more: number[]): number[] =>
      counts.map((value, i) => value + (more[i] ?? 0))

    for (const [system, file, source] of [
      ['CommonJS', 'index.js', `${LISTENS}\nmodule.exports = (req, res) => res.end('answer')`],
      ['ES modules', 'index.mjs', `${LISTENS}\nexport default (req, res) => res.end('answer')`],
    ] as const) {
      it(`${system}, when it was disposed`, async () => {
        await using world = await World.start()
        const counts = await before(world)
        globals.seen = {}
        world.write(`${HOST}/app/${file}`, source)
        await world.body(HOST)
        assert.deepEqual(count(), plus(counts, 1, 1, 2))
        world.remove(HOST)
        await world.event('evict')
        assert.deepEqual(count(), counts)
      })

      it(`${system}, when its load failed`, async () => {
        await using world = await World.start()
        const counts = await before(world)
        world.write(`${HOST}/app/${file}`, `${source}\nthrow new Error('broken')`)
        assert.equal((await world.get(HOST)).status, 500)
        assert.deepEqual(count(), counts)
      })
    }

    it('ES modules, when their load never ends', async () => {
      await using world = await World.start({ loadTimeout: 100 })
      const counts = await before(world)
      world.write(`${HOST}/app/index.mjs`, `${LISTENS}\nawait new Promise(() => {})`)
      assert.equal((await world.get(HOST)).status, 503)
      assert.deepEqual(count(), counts)
    })

    it('when its close() takes too long', async t => {
      await using world = await World.start()
      const counts = await before(world)
      world.write(
        `${HOST}/app/index.js`,
        `${LISTENS}\nmodule.exports = { app: () => {}, close: () => new Promise(() => {}) }`,
      )
      await world.vhosts.load(HOST)
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const closed = world.vhosts.close()
      t.mock.timers.tick(CLOSE_TIMEOUT)
      await closed
      t.mock.timers.reset()
      assert.match(String(world.events('error')[0]?.error), /close\(\) of the app took longer/)
      assert.deepEqual(count(), counts)
      assert.deepEqual(
        Object.keys(cache).filter(file => file.startsWith(world.path())),
        [],
      )
    })

    it('adds them again if an ES module app is used again, except those the app itself removed', async () => {
      await using world = await World.start({ maxApps: 1 })
      const counts = await before(world)
      globals.seen = {}
      world.write(
        `${HOST}/app/index.mjs`,
        `${LISTENS}
        const own = () => {}
        process.on('warning', own)
        export default (req, res) => { process.off('warning', own); res.end('answer') }`,
      )
      for (let round = 0; round < 3; round++) {
        await world.body(HOST)
        process.emit('express-van-spec' as 'disconnect')
        assert.deepEqual(globals.seen, { told: round + 1, once: 1 })
        assert.deepEqual(count(), plus(counts, 1, 1, 1))
        const evicted = world.event('evict', ({ hostnames }) => hostnames.includes(HOST))
        await world.body('first.test')
        await evicted
        assert.deepEqual(count(), counts)
      }
    })

    it('but keeps no listener that the app itself removed', async () => {
      const scope = new LoadScope()
      const event = 'express-van-spec'
      const told: WeakRef<() => void>[] = []
      const comeAndGo = (): void => {
        for (let n = 0; n < 1000; n++) {
          const listener = (): void => {}
          told.push(new WeakRef(listener))
          process.once(event, listener).off(event, listener)
        }
      }
      scope.run(() => process.on(event, () => {}))
      scope.run(comeAndGo)
      scope.listeners.remove()
      assert.equal(process.listenerCount(event), 0)
      scope.run(comeAndGo)
      scope.listeners.putBack()
      assert.equal(process.listenerCount(event), 1)
      scope.listeners.remove()
      assert.equal(process.listenerCount(event), 0)
      await heapInUse()
      assert.ok(told.filter(ref => ref.deref()).length < 200)
    })

    it('but not listeners of others', async () => {
      await using world = await World.start()
      await before(world)
      const own = (): void => {}
      process.on('express-van-spec', own)
      world.write(`${HOST}/app/index.js`, `${LISTENS}\nmodule.exports = (req, res) => res.end('answer')`)
      await world.body(HOST)
      world.remove(HOST)
      await world.event('evict')
      assert.deepEqual(process.listeners('express-van-spec' as 'exit'), [own])
      process.off('express-van-spec', own)
    })
  })
})
