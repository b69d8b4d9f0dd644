import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { AppStats, VhostError } from '../../lib/index.ts'
import { resultOfChild } from '../support/child.ts'
import { isAlive, socketFolders } from '../support/isolated.ts'
import { eventually, World } from '../support/world.ts'

const packages = resolve('node_modules')

/** What isolated apps and their routers do, in a thread as in a process. */
export function behaves(isolation: 'thread' | 'process'): void {
  type Values = Parameters<typeof World.start>
  const start = (options: Values[0] = {}, set?: Values[1]): Promise<World> =>
    World.start({ isolation, ...options }, set)
  const onlyOf = (world: World): AppStats => world.vhosts.stats().vhosts[0] as AppStats

  describe('the result of an option that is a function', () => {
    const bad: [name: string, values: unknown[]][] = [
      ['memoryLimit', ['64m', Number.NaN, {}, 0, -1, null, 1.5]],
      ['env', [Promise.resolve({}), 5, ['x'], 'A=b', { A: null }, null, undefined, new Map([['A', 'b']])]],
      ['getModulePaths', [5, '/srv', undefined, [5], new Array(1), Promise.resolve([])]],
    ]
    for (const [name, values] of bad) {
      it(`fails the load if ${name} returns an invalid value`, async () => {
        for (const value of values) {
          await using world = await start({ [name]: () => value })
          world.site('aries.test', 'aries')
          assert.equal((await world.get('aries.test')).status, 500)
          const { code, cause } = world.errors[0] as VhostError & { cause: { code: string; message: string } }
          assert.deepEqual([code, cause.code], ['ERR_VHOST_LOAD', 'ERR_VHOST_OPTION'])
          assert.match(cause.message, new RegExp(`^option '${name}' must give an? .*, not `))
        }
      })
    }

    it('fails the load, and nothing else, if it is a promise that rejects', async () => {
      for (const name of ['memoryLimit', 'env', 'getModulePaths', 'isolation']) {
        await using world = await start({ [name]: () => Promise.reject(new Error('no such table')) })
        world.site('aries.test', 'aries')
        assert.equal((await world.get('aries.test')).status, 500)
        const { cause } = world.errors[0] as VhostError & { cause: { message: string } }
        assert.match(cause.message, new RegExp(`^option '${name}' must give .*, not Promise`))
      }
    })

    it('leaves out a variable that is undefined, as the value itself does', async () => {
      const variables = { NAME: 'leo', NONE: undefined }
      for (const env of [variables, () => variables]) {
        await using world = await start({ env })
        world.write(
          'aries.test/app/index.js',
          `const { NAME, NONE } = process.env
           module.exports = (req, res) => res.end(NAME + ' ' + typeof NONE)`,
        )
        assert.equal(await world.body('aries.test'), 'leo undefined')
      }
    })

    it('is not shown in the error if it may be secret', async () => {
      for (const value of [{ PASSWORD: 'secret', PORT: 80 }, 'PASSWORD=secret', ['secret']]) {
        await using world = await start({ env: () => value as never })
        world.site('aries.test', 'aries')
        assert.equal((await world.get('aries.test')).status, 500)
        const told = JSON.stringify([world.vhosts.stats(), await world.vhosts.why('aries.test')])
        assert.match(told, /option 'env' must give an object of texts, not /)
        assert.doesNotMatch(told, /secret/)
      }
    })

    it('may be undefined for memoryLimit, and counts like the value itself', async () => {
      await using world = await start({
        memoryLimit: () => undefined,
        env: () => ({ NAME: 'leo' }),
        getModulePaths: realPath => [join(realPath, 'lib')],
      })
      world.write('aries.test/lib/own/index.js', 'module.exports = process.env.NAME')
      world.write('aries.test/app/index.js', `module.exports = (req, res) => res.end(require('own'))`)
      assert.equal(await world.body('aries.test'), 'leo')
    })
  })

  describe('an ordinary app', () => {
    it('is the entry itself: require.main, argv and import.meta say so', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const { argv } = process
         module.exports = (req, res) => res.end(JSON.stringify([require.main === module, argv[1] ?? process.argv[1], process.execArgv]))`,
      )
      world.write('leo.test/app/index.mjs', 'export default (req, res) => res.end(import.meta.url)')
      assert.deepEqual(JSON.parse(await world.body('aries.test')), [
        true,
        world.path('aries.test/app/index.js'),
        [],
      ])
      assert.equal(await world.body('leo.test'), `file://${world.path('leo.test/app/index.mjs')}`)
    })

    const listening: [name: string, source: string][] = [
      ['Express 5', `require('${packages}/express')().get('/', (q, r) => r.send(said)).listen(3000, done)`],
      [
        'Express 4',
        `require('${packages}/express4')().get('/', (q, r) => r.send(said)).listen(3000, '127.0.0.1', done)`,
      ],
      ['node:http', `require('http').createServer((q, r) => r.end(said)).listen({ port: 3000 }, done)`],
      ['http.Server without new', `require('http').Server((q, r) => r.end(said)).listen('3000', done)`],
      ['Koa', `new (require('${packages}/koa'))().use(c => { c.body = said }).listen(3000, done)`],
      [
        'Fastify',
        `const f = require('${packages}/fastify')(); f.get('/', async () => said); f.listen({ port: 3000 }).then(done)`,
      ],
      [
        'a server that prepares first',
        `setTimeout(() => require('http').createServer((q, r) => r.end(said)).listen(3000, 'localhost', done), 300)`,
      ],
      [
        'a server whose port was probed before',
        `const probe = require('net').createServer().once('listening', () => probe.close(() =>
           require('http').createServer((q, r) => r.end(said)).listen(probe.port, done))).listen(3000); probe.port = 3000`,
      ],
      ['https', `require('https').createServer((q, r) => r.end(said)).listen(3000, done)`],
    ]
    for (const [name, source] of listening) {
      it(`that listens with ${name} is served unchanged, on no port`, async () => {
        await using world = await start()
        const port = await unusedPort(3000)
        world.write(
          'aries.test/app/index.js',
          `let said = 'not yet'; function done() { said = 'listening' }\n${source.replaceAll('3000', `${port}`)}`,
        )
        assert.equal(await world.body('aries.test'), 'listening')
        await assert.rejects(connected(port))
      })
    }

    it('gets the address that it asked for, and its callback once', async () => {
      await using world = await start()
      const port = await unusedPort(4321)
      const other = await unusedPort(port + 1)
      world.write(
        'aries.test/app/index.js',
        `const calls = []
         const server = require('http').createServer((q, r) => r.end(JSON.stringify(calls)))
         server.on('listening', () => calls.push(['event', server.address().port, server.listening]))
         server.listen(${port}, '127.0.0.1', () => calls.push(['callback', server.address()]))
         require('http').createServer().listen(${other})`,
      )
      assert.deepEqual(JSON.parse(await world.body('aries.test')), [
        ['event', port, true],
        ['callback', { address: '127.0.0.1', family: 'IPv4', port }],
      ])
      for (const asked of [port, other]) await assert.rejects(connected(asked))
    })

    it('may take WebSockets through its server', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const server = require('http').createServer()
         new (require('${packages}/ws').WebSocketServer)({ server }).on('connection', socket => socket.on('message', text => socket.send('echo ' + text)))
         server.listen(3000)`,
      )
      await world.vhosts.load('aries.test')
      const { WebSocket } = await import('ws')
      const socket = new WebSocket(`ws://127.0.0.1:${world.port}/`, { headers: { host: 'aries.test' } })
      const message = new Promise(done => socket.once('message', done))
      socket.once('open', () => socket.send('hello'))
      assert.equal(String(await message), 'echo hello')
      socket.terminate()
      await eventually(() => onlyOf(world).inFlight === 0)
    })

    it('finds packages in modulesDir, in both module systems', async () => {
      await using world = await start({ modulesDir: 'vendor' })
      world.write('aries.test/vendor/dep/index.js', `module.exports = 'dep'`)
      world.write('aries.test/vendor/dep/package.json', '{"name":"dep"}')
      world.write(
        'aries.test/app/index.mjs',
        `import dep from 'dep'; import './lib.mjs'; export default (req, res) => res.end(dep + globalThis.count)`,
      )
      world.write(
        'aries.test/app/lib.mjs',
        `import dep from 'dep'; globalThis.count = (globalThis.count ?? 0) + 1`,
      )
      world.link('leo.test/vendor', '../aries.test/vendor')
      world.write(
        'leo.test/app/index.js',
        `const dep = require('dep'); module.exports = (req, res) => res.end(dep)`,
      )
      assert.equal(await world.body('aries.test'), 'dep1')
      assert.equal(await world.body('leo.test'), 'dep')
    })

    it('that forks a cluster, or listens by HTTP/2 alone, gets an error that says so', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', `require('cluster').fork()`)
      world.write('leo.test/app/index.mjs', `import { fork } from 'node:cluster'; fork()`)
      world.write('virgo.test/app/index.js', `require('http2').createServer().listen(3000)`)
      for (const host of ['aries.test', 'leo.test', 'virgo.test'])
        assert.equal((await world.get(host)).status, 500)
      const [aries, leo, virgo] = world.errors as VhostError[]
      assert.match(String(aries?.cause), /cluster\.fork\(\) is not available/)
      assert.match(String(leo?.cause), /cluster\.fork\(\) is not available/)
      assert.match(String(virgo?.message), /HTTP\/2/)
    })

    it('that ends without a handler says so at once', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', 'console.log("that was all")')
      assert.equal((await world.get('aries.test')).status, 500)
      const [error] = world.errors as VhostError[]
      assert.equal(error?.code, 'ERR_VHOST_NO_HANDLER')
      assert.match(String(error?.message), /exports nothing/)
    })

    it('that exports something else may listen later', async () => {
      await using world = await start()
      const later = `(() => {
        const server = http.createServer((req, res) => res.end('hello'))
        setTimeout(() => server.listen(3000), 300)
      })()`
      world.write(
        'aries.test/app/index.js',
        `const http = require('node:http'); ${later}; module.exports = { helper: 1 }`,
      )
      world.write(
        'leo.test/app/index.mjs',
        `import http from 'node:http'; ${later}; export const helper = 1; export class Site {}`,
      )
      for (const host of ['aries.test', 'leo.test']) assert.equal(await world.body(host), 'hello')
    })

    it('that exports something else and keeps running gets an error that says so', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', `setInterval(() => {}, 1000); module.exports = { helper: 1 }`)
      assert.equal((await world.get('aries.test')).status, 500)
      const [error] = world.errors as VhostError[]
      assert.equal(error?.code, 'ERR_VHOST_NO_HANDLER')
      assert.match(String(error?.message), /exports an object with "helper"/)
    })

    const threads: [file: string, imports: string, self: string][] = [
      ['index.js', `const { Worker, isMainThread, parentPort } = require('worker_threads')`, '__filename'],
      [
        'index.mjs',
        `import { Worker, isMainThread, parentPort } from 'node:worker_threads'; import http from 'node:http'`,
        'new URL(import.meta.url)',
      ],
    ]
    for (const [file, imports, self] of threads) {
      it(`that is main thread and worker in one file, ${file}, is the main thread`, async () => {
        await using world = await start()
        world.write(
          `aries.test/app/${file}`,
          `${imports}
           if (isMainThread) {
             const worker = new Worker(${self}); worker.unref()
             ${file === 'index.js' ? `const http = require('node:http')` : ''}
             http.createServer((req, res) => {
               worker.once('message', text => res.end(text + ' ' + parentPort))
               worker.postMessage('hello')
             }).listen(3000)
           } else {
             parentPort.on('message', text => parentPort.postMessage(text + ' from the worker'))
           }`,
        )
        assert.equal(await world.body('aries.test'), 'hello from the worker null')
      })
    }

    describe('that handles its own exceptions', () => {
      const THROWS = `setTimeout(() => { throw new Error('no such table') }, 10)
        const server = require('http').createServer((req, res) => res.end('served'))`
      const handled: [how: string, source: string][] = [
        ['by uncaughtException', `process.on('uncaughtException', () => server.listen(3000))`],
        [
          'by a callback that captures them',
          `process.setUncaughtExceptionCaptureCallback(() => server.listen(3000))`,
        ],
      ]
      for (const [how, source] of handled) {
        it(`${how}, goes on loading`, async () => {
          await using world = await start()
          world.write('aries.test/app/index.js', `${THROWS}\n${source}`)
          assert.equal(await world.body('aries.test'), 'served')
          assert.deepEqual(world.events('error'), [])
        })
      }

      it('and ends by one while it loads, reports which it was', async () => {
        await using world = await start()
        world.write(
          'aries.test/app/index.js',
          `${THROWS}\nprocess.on('uncaughtException', () => setTimeout(() => process.exit(1), 50))`,
        )
        assert.equal((await world.get('aries.test')).status, 500)
        assert.match(String((world.errors[0] as VhostError).cause), /no such table/)
      })
    })

    it('that exports a late rejection, and handles rejections, reports which it was', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `process.on('unhandledRejection', () => {})
         setTimeout(() => { module.exports = Promise.reject(new Error('no such table')) }, 10)`,
      )
      assert.equal((await world.get('aries.test')).status, 500)
      assert.match(String((world.errors[0] as VhostError).cause), /no such table/)
    })

    describe('that is an ES module, listens and then awaits', () => {
      const LISTENS = `
        import http from 'node:http'
        import { on } from 'node:events'
        import { setTimeout } from 'node:timers/promises'
        const server = http.createServer().listen(3000)
        const answer = (req, res) => res.end('server')`
      const served: [what: string, source: string][] = [
        ['for ever', `server.on('request', answer); await new Promise(() => {})`],
        ['its requests', `for await (const [req, res] of on(server, 'request')) answer(req, res)`],
        [
          'a signal, with a timer that runs',
          `server.on('request', answer); setInterval(() => {}, 1000)
           await new Promise(resolve => process.once('SIGTERM', resolve)); process.exit()`,
        ],
      ]
      for (const [what, source] of served) {
        it(`${what}, is served by its server`, async () => {
          await using world = await start()
          world.write('aries.test/app/index.mjs', `${LISTENS}\n${source}`)
          for (let i = 0; i < 2; i++) assert.equal(await world.body('aries.test'), 'server')
          assert.deepEqual(world.events('evict'), [])
        })
      }

      it('for a moment, is served by what it then exports, and fails by what it throws', async () => {
        await using world = await start()
        world.write(
          'aries.test/app/index.mjs',
          `${LISTENS}\nawait setTimeout(200)\nexport default (req, res) => res.end('export')`,
        )
        world.write('leo.test/app/index.mjs', `${LISTENS}\nawait setTimeout(200)\nthrow new Error('broken')`)
        assert.equal(await world.body('aries.test'), 'export')
        assert.equal((await world.get('leo.test')).status, 500)
        assert.match(String((world.errors[0] as VhostError).cause), /broken/)
      })

      it('and fails while it serves, ends as by any uncaught error', async () => {
        await using world = await start()
        world.write(
          'aries.test/app/index.mjs',
          `${LISTENS}
           await new Promise((resolve, reject) => {
             server.on('request', (req, res) => { answer(req, res); if (req.url === '/fail') reject(new Error('late')) })
           })`,
        )
        assert.equal(await world.body('aries.test'), 'server')
        const evicted = world.event('evict')
        await world.get('aries.test', '/fail')
        assert.equal((await evicted).reason, 'crashed')
      })
    })

    it('that throws while it loads reports what and where', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', '\n\nthrow new TypeError("boom")')
      world.write('leo.test/app/index.mjs', 'import "./nowhere.mjs"')
      world.write('virgo.test/app/index.mjs', 'import "./broken.mjs"')
      world.write('virgo.test/app/broken.mjs', '\nexport const =')
      for (const host of ['aries.test', 'leo.test', 'virgo.test'])
        assert.equal((await world.get(host)).status, 500)
      const [aries, leo, virgo] = world
        .events('error')
        .map(({ error }) => error.cause as Error & { code?: string })
      assert.equal(aries?.name, 'TypeError')
      assert.match(aries?.stack ?? '', /index\.js:3/)
      assert.equal(leo?.code, 'ERR_MODULE_NOT_FOUND')
      assert.match(virgo?.stack ?? '', /broken\.mjs:2\n/)
    })
  })

  describe('environment', () => {
    it('is PATH, HOME, LANG, TZ, TMPDIR, NODE_ENV and what the options say', async () => {
      process.env.SECRET_OF_THE_ROUTER = 's3cret'
      try {
        await using world = await start({
          env: ({ realPath }) => ({ SITE: realPath.split('/').at(-1) as string, PORT: '80' }),
        })
        world.write('aries.test/package.json', '{"vhost":{"env":{"PORT":"81","OWN":"yes"}}}')
        world.write(
          'aries.test/app/index.js',
          'module.exports = (req, res) => res.end(JSON.stringify(process.env))',
        )
        const env = JSON.parse(await world.body('aries.test')) as Record<string, string>
        assert.deepEqual(
          [env.SITE, env.PORT, env.OWN, env.PATH],
          ['aries.test', '81', 'yes', process.env.PATH],
        )
        const known = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'NODE_ENV', 'SITE', 'PORT', 'OWN']
        // While coverage is counted, Node passes this to each process that it starts.
        if (process.env.NODE_V8_COVERAGE !== undefined) known.push('NODE_V8_COVERAGE')
        assert.deepEqual(
          Object.keys(env).filter(name => !known.includes(name)),
          [],
        )
      } finally {
        delete process.env.SECRET_OF_THE_ROUTER
      }
    })

    it('makes Node import what NODE_OPTIONS names before the app begins, however long that takes', async () => {
      await using world = await start({
        env: ({ realPath }) => ({ NODE_OPTIONS: `--import "${join(realPath, 'preloaded.mjs')}"` }),
      })
      const apps: [file: string, source: string][] = [
        ['index.mjs', 'export default (req, res) => res.end(JSON.stringify(seen))'],
        ['index.js', 'module.exports = (req, res) => res.end(JSON.stringify(seen))'],
        [
          'index.cjs',
          `require('http').createServer((req, res) => res.end(JSON.stringify(seen))).listen(3000)`,
        ],
      ]
      const slow = `import { setTimeout as delay } from 'node:timers/promises'\nawait delay(100)\nglobalThis.ran = true`
      for (const [index, [file, source]] of apps.entries()) {
        const isMain = file.endsWith('.mjs') ? 'true' : 'require.main === module'
        world.write(`app-${index}.test/preloaded.mjs`, slow)
        world.write(
          `app-${index}.test/app/${file}`,
          `const seen = [globalThis.ran, ${isMain}, process.execArgv]\n${source}`,
        )
        assert.deepEqual(JSON.parse(await world.body(`app-${index}.test`)), [true, true, []], file)
      }
    })

    it('lets a loader that NODE_OPTIONS names resolve for the app', async () => {
      await using world = await start({
        env: ({ realPath }) => ({ NODE_OPTIONS: `--experimental-loader "${join(realPath, 'loader.mjs')}"` }),
      })
      world.write(
        'aries.test/loader.mjs',
        `export const resolve = (specifier, context, next) =>
          next(specifier === 'greeting' ? 'data:text/javascript,export default "aries"' : specifier, context)`,
      )
      world.write(
        'aries.test/app/index.mjs',
        `import greeting from 'greeting'\nexport default (req, res) => res.end(greeting)`,
      )
      assert.equal(await world.body('aries.test'), 'aries')
    })

    it('that an app writes is its own', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `process.env.MINE = '1'; module.exports = (req, res) => res.end(process.env.MINE)`,
      )
      assert.equal(await world.body('aries.test'), '1')
      assert.equal(process.env.MINE, undefined)
      assert.deepEqual((await world.vhosts.why('aries.test')).environmentWrites, [])
    })
  })

  describe('output', () => {
    it('appears on the streams of the router line by line with the name of the vhost, and in log events', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `console.log('one\\ntwo'); console.error('\\x1b[2J\\x1b[31mthree')
         process.stdout.write('unfinished'); module.exports = (req, res) => res.end('ok')
         module.exports.close = () => new Promise(done => setTimeout(done, 50))`,
      )
      const written: string[] = []
      const { write } = process.stderr
      process.stderr.write = ((text: string) => written.push(String(text)) > 0) as never
      try {
        await world.body('aries.test')
        await eventually(() => world.events('log').length === 3)
      } finally {
        process.stderr.write = write
      }
      assert.ok(written.includes('aries.test | \ufffd[2J\x1b[31mthree\x1b[0m\n'), JSON.stringify(written))
      const evicted = world.event('evict')
      await world.vhosts.close()
      await evicted
      const lines = world
        .events('log')
        .map(({ stream, line, realPath }) => `${stream} ${line} ${realPath.split('/').at(-1)}`)
      assert.deepEqual(lines.sort(), [
        'stderr \x1b[2J\x1b[31mthree aries.test',
        'stdout one aries.test',
        'stdout two aries.test',
        'stdout unfinished aries.test',
      ])
    })

    it('of a first load has the name that is waiting for it', async () => {
      await using world = await start()
      world.write('releases/1/app/index.js', 'console.log("connecting"); throw new Error("no database")')
      world.link('aries.test', 'releases/1')
      await world.body('aries.test')
      const { hostnames } = world.events('log').find(({ line }) => line === 'connecting') ?? {}
      assert.deepEqual(hostnames, ['aries.test'])
    })
  })

  describe('faults, with a neighbour that never notices', () => {
    const faults: [what: string, source: string, status: RegExp, kinds?: string][] = [
      ['an endless loop', 'for (;;);', /502/],
      ['Atomics.wait', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', /502/],
      ['an exception that nobody catches', 'setImmediate(() => { throw new Error("late") })', /502/],
      ['a rejection that nobody handles', 'void Promise.reject(new Error("late"))', /502/],
      ['process.exit()', 'process.exit(7)', /502/],
      ['a regular expression without end', '/^(a+)+$/.test("a".repeat(50) + "b")', /502/],
      ['a stack overflow', 'setImmediate(function f() { f() })', /502/],
      [
        'small objects until memory ends',
        'const all = []; for (;;) all.push({ a: [1, 2, 3] })',
        /502/,
        'process',
      ],
      ['a Map that grows', 'const all = new Map(); for (let i = 0; ; i++) all.set(i, i)', /502/, 'process'],
      ['one huge array', 'const all = []; for (;;) all.push(1)', /502/, 'process'],
      ['SIGKILL', 'process.kill(process.pid, "SIGKILL")', /502/],
      ['SIGSEGV', 'process.kill(process.pid, "SIGSEGV")', /502/],
      ['SIGALRM', 'process.kill(process.pid, "SIGALRM")', /502/],
      ['process.abort()', 'process.abort()', /502/, 'process'],
    ]
    for (const [what, source, status, only] of faults) {
      if (only && only !== isolation) continue
      it(what, { timeout: 60_000 }, async () => {
        await using world = await start({ memoryLimit: 64 * 2 ** 20 })
        world.site('leo.test', 'leo')
        world.write(
          'aries.test/app/index.js',
          `module.exports = (req, res) => { if (req.url === '/') return res.end('aries'); ${source} }`,
        )
        assert.equal(await world.body('aries.test'), 'aries')
        assert.equal(await world.body('leo.test'), 'leo')
        let isOver = false
        let answered = 0
        const neighbour = (async () => {
          while (!isOver) {
            const { status: code, body } = await world.get('leo.test')
            assert.deepEqual([code, body], [200, 'leo'])
            answered++
          }
        })()
        const evicted = world.event('evict')
        const answer = await world.get('aries.test', '/fault', { method: 'POST' })
        assert.match(String(answer.status), status)
        assert.equal((await evicted).reason, 'crashed')
        await eventually(async () => (await world.body('aries.test')) === 'aries')
        await eventually(() => answered > 3)
        isOver = true
        await neighbour
        const { restarts, lastExit } = world.vhosts
          .stats()
          .vhosts.find(({ hostnames }) => hostnames.includes('aries.test')) as AppStats
        assert.equal(restarts, 1)
        const isStill = /loop|Atomics|expression/.test(what)
        // An app that fills its memory may be so busy with it that it misses its heartbeats.
        const how = isStill
          ? /it did not respond for 1\.5 s and was killed/
          : /it (ended with code \d|was ended by SIG|did not respond)/
        assert.match(String(lastExit?.how), how)
      })
    }

    it('one that recurs stays in stats() until the app is restarted, even if nobody asks', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => req.method === 'POST' ? process.exit(7) : res.end('aries')`,
      )
      await world.vhosts.load('aries.test')
      // The pause after the last is 800 ms.
      for (let crashes = 1; crashes <= 5; crashes++) {
        await world.get('aries.test', '/', { method: 'POST' })
        await eventually(() => assert.equal(onlyOf(world).restarts, crashes))
        await eventually(() => {
          const { hostnames, state, lastExit, lastError } = onlyOf(world)
          assert.deepEqual(hostnames, ['aries.test'])
          assert.match(String(lastExit?.how), /it ended with code 7/)
          assert.equal(lastError?.code, state === 'failed' ? 'ERR_VHOST_CRASHED' : undefined)
          assert.equal(state, crashes < 5 ? 'serving' : 'failed')
          const isRefused = world.vhosts.metrics().includes('release_refused{hostname="aries.test"} 1')
          assert.equal(isRefused, state === 'failed')
        })
      }
      await eventually(() => assert.equal(onlyOf(world).state, 'serving'))
    })

    it('a process that is started and waited for holds up its own vhost only', async () => {
      await using world = await start()
      world.site('leo.test', 'leo')
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => { require('child_process').execSync('sleep 0.7'); res.end('waited') }`,
      )
      for (const name of ['aries.test', 'leo.test']) await world.vhosts.load(name)
      let isOver = false
      const answer = world.body('aries.test').finally(() => {
        isOver = true
      })
      let answered = 0
      for (; !isOver; answered++) assert.equal(await world.body('leo.test'), 'leo')
      assert.equal(await answer, 'waited')
      assert.ok(answered > 3, `${answered} answers`)
    })

    it('may stand still for no longer than heartbeatTimeout', async () => {
      await using world = await start({ heartbeatTimeout: 300 })
      world.write('aries.test/app/index.js', 'module.exports = () => { for (;;); }')
      const told = world.event('error')
      const answer = world.get('aries.test', '/', { method: 'POST' })
      assert.match(String((await told).error), /it did not respond for 0\.3 s and was killed/)
      assert.equal((await answer).status, 502)
    })

    it('standing still with no request in flight is no fault', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const still = new Int32Array(new SharedArrayBuffer(4)); let stood = 'not yet'
         module.exports = (req, res) => {
           res.end(stood)
           // Longer than three heartbeats.
           if (req.url === '/stand') setTimeout(() => { Atomics.wait(still, 0, 0, 2500); stood = 'stood' }, 50)
         }`,
      )
      assert.equal(await world.body('aries.test', '/stand'), 'not yet')
      await eventually(() => onlyOf(world).inFlight === 0)
      await delay(2600)
      assert.equal(await world.body('aries.test'), 'stood')
      assert.deepEqual(world.events('evict'), [])
    })

    it('a memory limit is passed on', async () => {
      await using world = await start({
        memoryLimit: ({ realPath }) => (realPath.endsWith('aries.test') ? 96 * 2 ** 20 : undefined),
      })
      const source = `const limit = require('v8').getHeapStatistics().heap_size_limit / 2 ** 20
        module.exports = (req, res) => res.end(String(limit))`
      for (const name of ['aries.test', 'leo.test']) world.write(`${name}/app/index.js`, source)
      const limited = Number(await world.body('aries.test'))
      const usual = Number(await world.body('leo.test'))
      // The limit applies to the old generation of the heap; the size of the young one depends on Node's version.
      assert.ok(limited >= 96 && limited < usual / 2, `${limited} and ${usual} MiB`)
    })

    it('an endless loop during a load ends with loadTimeout', async () => {
      await using world = await start({ loadTimeout: 2000 })
      world.site('leo.test', 'leo')
      world.write('aries.test/app/index.js', 'for (;;);')
      const slow = world.get('aries.test')
      assert.equal(await world.body('leo.test'), 'leo')
      assert.equal((await slow).status, 503)
    })

    it('a load that never settles ends with loadTimeout', async () => {
      await using world = await start({ loadTimeout: 500 })
      world.write('aries.test/app/index.js', 'module.exports = new Promise(() => {})')
      world.write('leo.test/app/index.mjs', 'await new Promise(() => {})')
      for (const name of ['aries.test', 'leo.test']) {
        await assert.rejects(world.vhosts.load(name), { code: 'ERR_VHOST_LOAD_TIMEOUT' })
      }
    })

    it('a program that never listens ends with loadTimeout', async () => {
      await using world = await start({ loadTimeout: 500 })
      const beat = world.path('beat')
      world.write(
        'aries.test/app/index.js',
        `setInterval(() => require('fs').writeFileSync('${beat}', ''), 20)`,
      )
      assert.equal((await world.get('aries.test')).status, 503)
      await eventually(async () => {
        rmSync(beat, { force: true })
        await delay(200)
        return !existsSync(beat)
      })
    })

    it('an answer that does not begin within requestTimeout becomes 504, and the app goes on', async () => {
      await using world = await start({ requestTimeout: 200 })
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => { if (req.url !== '/never') res.end('ok') }`,
      )
      assert.equal(await world.body('aries.test'), 'ok')
      assert.equal((await world.get('aries.test', '/never')).status, 504)
      assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_REQUEST_TIMEOUT')
      assert.equal(await world.body('aries.test'), 'ok')
      assert.deepEqual(world.events('evict'), [])
    })

    it('an upgrade that is not answered within requestTimeout becomes 504, and counts as an error of the app', async () => {
      await using world = await start({ requestTimeout: 200 })
      world.write(
        'aries.test/app/index.js',
        `exports.handler = (req, res) => res.end('ok')
         exports.upgrade = (req, socket) => socket.resume()`,
      )
      assert.equal(await upgradeStatus(world.port, 'aries.test'), 504)
      const { errors, inFlight } = onlyOf(world)
      assert.deepEqual([errors, inFlight], [1, 0])
      assert.equal(await world.body('aries.test'), 'ok')
    })

    it('no request of 800 at a time is lost, whatever its method, while the app is briefly busy', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const { writeFileSync } = require('node:fs')
         module.exports = (req, res) => {
           const end = Date.now() + 700
           if (req.url === '/busy') writeFileSync('${world.path('is-busy')}', '')
           while (req.url === '/busy' && Date.now() < end);
           res.end('ok')
         }`,
      )
      world.site('leo.test', 'leo')
      await world.body('aries.test')
      const agent = new http.Agent({ keepAlive: true })
      const all = (host: string): Promise<number[]> =>
        Promise.all(
          Array.from(
            { length: 800 },
            async () => (await world.get(host, '/', { agent, method: 'POST' })).status,
          ),
        )
      // Makes the requests below arrive at once.
      await all('leo.test')
      const busy = world.body('aries.test', '/busy')
      await eventually(() => existsSync(world.path('is-busy')))
      assert.deepEqual(new Set(await all('aries.test')), new Set([200]))
      assert.equal(await busy, 'ok')
      agent.destroy()
    })

    it('an idempotent request that got no byte is answered by the next instance', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const fs = require('fs'); const file = '${world.path('once')}'
         module.exports = (req, res) => { if (fs.existsSync(file)) return res.end('second'); fs.writeFileSync(file, ''); process.exit(1) }`,
      )
      assert.deepEqual(await world.get('aries.test').then(({ status, body }) => [status, body]), [
        200,
        'second',
      ])
      assert.equal(world.events('evict')[0]?.reason, 'crashed')
    })

    it('a request that is cut at the end of drainTimeout is no crash, and is not reported as one', async () => {
      await using world = await start({ drainTimeout: 50 })
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => { if (req.url !== '/hang') res.end('aries') }`,
      )
      await world.body('aries.test')
      const cut = assert.rejects(world.get('aries.test', '/hang'), { code: 'ECONNRESET' })
      await eventually(() => world.vhosts.stats().totals.inFlight === 1)
      // The event comes after the app has ended, which is after its connections have.
      const evicted = world.event('evict')
      await world.vhosts.reload('aries.test')
      await cut
      await evicted
      assert.deepEqual(world.errors, [])
      assert.equal(onlyOf(world).errors, 0)
    })

    describe('a request that was redone', () => {
      /** An app whose first instance crashes at the first request. */
      const crashing = (world: World, rest: string): void =>
        world.write(
          'aries.test/app/index.js',
          `const fs = require('fs'); const file = '${world.path('once')}'
           module.exports = (req, res, next) => {
             if (!fs.existsSync(file)) { fs.writeFileSync(file, ''); process.exit(1) }
             ${rest}
           }`,
        )

      it('is not cut at the end of the drainTimeout of the app that crashed', async () => {
        await using world = await start({ drainTimeout: 300 })
        crashing(world, `res.write('begun '); setTimeout(() => res.end('ended'), 900)`)
        const slow = world.get('aries.test')
        assert.equal((await world.event('evict')).reason, 'crashed')
        await eventually(() => world.vhosts.stats().totals.inFlight === 1)
        assert.equal((await slow).body, 'begun ended')
        await eventually(() => world.vhosts.stats().totals.inFlight === 0)
      })

      it('counts its errors for the next instance only', async () => {
        await using world = await start()
        crashing(world, `next(new Error('not here'))`)
        assert.equal((await world.get('aries.test')).status, 500)
        assert.deepEqual(String(world.errors), 'Error: not here')
        await eventually(() => world.events('evict').length === 1)
        assert.match(world.vhosts.metrics(), /errors_total\{hostname="aries.test"\} 1\n/)
        const { errors, inFlight } = onlyOf(world)
        assert.deepEqual([errors, inFlight], [1, 0])
      })
    })

    it('an upgrade under way at the moment of a crash is redone like a request, once', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const fs = require('fs'); const file = '${world.path('once')}'
         exports.handler = (req, res) => res.end('ok')
         exports.upgrade = (req, socket) => {
           if (req.url === '/always' || !fs.existsSync(file)) { fs.writeFileSync(file, ''); process.exit(1) }
           socket.end('HTTP/1.1 418 No\\r\\n\\r\\n')
         }`,
      )
      assert.equal(await upgradeStatus(world.port, 'aries.test'), 418)
      assert.equal(world.events('evict')[0]?.reason, 'crashed')
      assert.equal(onlyOf(world).errors, 0)
      await eventually(() => world.vhosts.stats().totals.inFlight === 0)
      assert.match(String(await upgradeStatus(world.port, 'aries.test', '/always')), /50[23]/)
      assert.ok(world.events('load').length <= 4)
    })

    it('a request that crashes every app is redone once, and no more', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', 'module.exports = () => process.exit(1)')
      assert.match(String((await world.get('aries.test')).status), /50[23]/)
      assert.ok(world.events('load').length <= 2)
    })

    it('crashes in a row are followed by longer and longer pauses, with 503 and Retry-After', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        'setTimeout(() => process.exit(3), 300); module.exports = (req, res) => res.end("ok")',
      )
      await world.vhosts.load('aries.test')
      await eventually(() => world.events('evict').length >= 4)
      let refused = await world.get('aries.test')
      await eventually(async () => {
        refused = await world.get('aries.test')
        return refused.status === 503
      })
      assert.ok(Number(refused.headers['retry-after']) >= 1)
      const loads = world.events('load').length
      assert.ok(loads <= 8, `${loads} loads`)
    })

    it('crashes in a row are followed by restarts even if timers fire early by the clock', async t => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        'setTimeout(() => process.exit(3), 300); module.exports = (req, res) => res.end("ok")',
      )
      const now = performance.now.bind(performance)
      t.mock.method(performance, 'now', () => now() * 0.9)
      await world.vhosts.load('aries.test')
      await eventually(() => world.events('evict').length >= 4)
    })

    it('a new release that crashes while it loads keeps the old one', async () => {
      await using world = await start()
      world.site('aries.test', 'one')
      assert.equal(await world.body('aries.test'), 'one')
      const failed = world.event('error')
      world.write('aries.test/app/index.js', 'process.exit(5)')
      const { error, serving } = await failed
      assert.match(String((error.cause as Error).message), /code 5/)
      assert.ok(serving)
      assert.equal(await world.body('aries.test'), 'one')
    })
  })

  describe('life', () => {
    it('is idle for idleTimeout, ends, and begins with the next request', async () => {
      await using world = await start({ idleTimeout: 300 })
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      const { pid } = onlyOf(world)
      assert.equal((await world.event('evict')).reason, 'idle')
      if (pid !== null) assert.ok(!isAlive(pid))
      assert.equal(await world.body('aries.test'), 'aries')
      assert.equal(world.events('load').length, 2)
    })

    it('only the boot code reports for the app, and nothing else is accepted', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        // A thread gives its app no way to the router.
        `const { parentPort } = require('worker_threads')
         const { writeSync } = require('fs')
         const say = report => '${isolation}' === 'process' && writeSync(3, JSON.stringify(report) + '\\n')
         for (const report of [{ type: 'failed' }, { type: 'stopped', error: 5 }, { type: 'pong' }]) say(report)
         module.exports = (req, res) => res.end(parentPort === null ? 'well' : 'a port')`,
      )
      assert.equal(await world.body('aries.test'), 'well')
      assert.match(world.vhosts.metrics(), /express_van_requests_total\{hostname="aries\.test"\} 1/)
    })

    it('the private server closes no connection by itself, for twelve days: the limits are those of the router', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `module.exports = ({ socket: { server } }, res) =>
           res.end([server.keepAliveTimeout === 2 ** 30, server.requestTimeout, server.headersTimeout, server.timeout].join())`,
      )
      assert.equal(await world.body('aries.test'), 'true,0,0,0')
    })

    it('close() of the app runs after the last request, and SIGTERM listeners are called at the end', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const { appendFileSync } = require('fs'); const note = text => appendFileSync('${world.path('notes')}', text + ' ')
         process.on('SIGTERM', () => { note('SIGTERM'); process.exit() })
         module.exports = (req, res) => setTimeout(() => { note('answered'); res.end('ok') }, 100)
         module.exports.close = async () => note('close')`,
      )
      await world.vhosts.load('aries.test')
      const answer = world.body('aries.test')
      await eventually(() => onlyOf(world).inFlight === 1)
      await world.vhosts.close()
      assert.equal(await answer, 'ok')
      assert.equal(readFileSync(world.path('notes'), 'utf8'), 'answered close SIGTERM ')
    })

    it('close() that is a member of an exported promise runs, too', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `module.exports = (async () => (req, res) => res.end('ok'))()
         module.exports.close = () => require('fs').writeFileSync('${world.path('notes')}', 'closed')`,
      )
      assert.equal(await world.body('aries.test'), 'ok')
      await world.vhosts.close()
      assert.equal(readFileSync(world.path('notes'), 'utf8'), 'closed')
    })

    it('an app that does not answer its probe closes what it opened', async () => {
      await using world = await start()
      world.write('aries.test/package.json', '{ "vhost": { "probe": "/healthz" } }')
      world.write(
        'aries.test/app/index.js',
        `exports.handler = (req, res) => res.writeHead(503).end()
         exports.close = async () => {
           await new Promise(setImmediate)
           require('fs').writeFileSync('${world.path('notes')}', 'closed')
         }`,
      )
      assert.equal((await world.get('aries.test')).status, 500)
      await eventually(() => assert.equal(readFileSync(world.path('notes'), 'utf8'), 'closed'))
    })

    it('an app that only closes its server at SIGTERM ends by itself, and is not killed', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const { writeFileSync } = require('fs')
         const server = require('http').createServer((req, res) => res.end('ok')).listen(3000)
         process.on('SIGTERM', () => server.close())
         process.on('exit', code => writeFileSync('${world.path('notes')}', 'ended with ' + code))`,
      )
      assert.equal(await world.body('aries.test'), 'ok')
      await world.vhosts.close()
      assert.equal(readFileSync(world.path('notes'), 'utf8'), 'ended with 0')
    })

    it('an app that passes SIGTERM on to itself, as those of NestJS and Apollo do, ends only itself', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `process.once('SIGTERM', async () => process.kill(process.pid, 'SIGTERM'))
         module.exports = (req, res) => { if (req.url === '/end') process.kill(process.pid, 15); else res.end('ok') }`,
      )
      const heard: string[] = []
      const hear = (signal: string): number => heard.push(signal)
      process.on('SIGTERM', hear)
      try {
        await world.vhosts.load('aries.test')
        const evicted = world.event('evict')
        await world.vhosts.reload('aries.test')
        await evicted
        assert.deepEqual(heard, [])
        assert.equal((await world.get('aries.test', '/end', { method: 'POST' })).status, 502)
        await eventually(async () => (await world.body('aries.test')) === 'ok')
      } finally {
        process.off('SIGTERM', hear)
      }
    })

    it('an app gets a moment after SIGTERM if it listens for it', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const { writeFileSync } = require('fs')
         process.on('SIGTERM', () => setTimeout(() => { writeFileSync('${world.path('notes')}', 'saved'); process.exit() }, 300))
         module.exports = (req, res) => res.end('ok')`,
      )
      await world.vhosts.load('aries.test')
      await world.vhosts.close()
      assert.equal(readFileSync(world.path('notes'), 'utf8'), 'saved')
    })

    it('an app that hangs in close(), or loops at its end, is reported and killed', {
      timeout: 60_000,
    }, async () => {
      await using world = await start()
      const closes = { 'aries.test': '() => new Promise(() => {})', 'leo.test': '() => { for (;;); }' }
      for (const [host, close] of Object.entries(closes)) {
        world.write(
          `${host}/app/index.js`,
          `setInterval(() => {}, 1000); module.exports = (req, res) => res.end('ok'); module.exports.close = ${close}`,
        )
        await world.vhosts.load(host)
      }
      const pids = world.vhosts.stats().vhosts.map(({ pid }) => pid)
      await world.vhosts.close()
      assert.equal(world.events('error').length, 2)
      for (const { error } of world.events('error')) assert.match(error.message, /took longer than 10000 ms/)
      for (const pid of pids) if (pid !== null) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
    })

    it('an app whose close() throws is reported and gone; one that ignores SIGTERM is killed', {
      timeout: 30_000,
    }, async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)
         module.exports = (req, res) => res.end('ok'); module.exports.close = () => { throw new Error('not me') }`,
      )
      await world.vhosts.load('aries.test')
      const { pid } = onlyOf(world)
      await world.vhosts.close()
      assert.match(String(world.events('error')[0]?.error.message), /not me/)
      assert.equal(world.events('evict')[0]?.reason, 'closed')
      if (pid !== null) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
    })

    it('leaves no socket, and lets nobody else reach one', async () => {
      const world = await start()
      const before = socketFolders()
      world.site('aries.test', 'aries')
      await world.body('aries.test')
      const [folder = ''] = socketFolders().filter(name => !before.includes(name))
      assert.equal(statSync(folder).mode & 0o777, 0o700)
      assert.equal(readdirSync(folder).length, 1)
      await world.vhosts.reload('aries.test')
      await eventually(() => readdirSync(folder).length === 1)
      await world[Symbol.asyncDispose]()
      assert.ok(!existsSync(folder))
    })

    it('an app whose socket has been removed is replaced, and finishes what it has begun', async () => {
      const before = socketFolders()
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => {
           if (req.url !== '/slow') return res.end('aries')
           res.write('begun ')
           setTimeout(() => res.end('ended'), 700)
         }`,
      )
      await world.body('aries.test')
      const [folder = ''] = socketFolders().filter(name => !before.includes(name))
      const slow = world.body('aries.test', '/slow')
      await eventually(() => onlyOf(world).inFlight === 1)
      rmSync(folder, { recursive: true })
      const evicted = world.event('evict')
      const answers = await Promise.all(
        ['GET', 'POST', 'GET', 'POST'].map(method => world.get('aries.test', '/', { method })),
      )
      assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(['aries']))
      assert.match(String(onlyOf(world).lastExit?.how), /its socket was removed/)
      assert.equal(await slow, 'begun ended')
      assert.equal((await evicted).reason, 'crashed')
      world.site('leo.test', 'leo')
      assert.equal(await world.body('leo.test'), 'leo')
    })

    for (const [what, first, ask] of [
      ['a request with a body', 502, world => world.get('aries.test', '/', { method: 'POST', body: 'body' })],
      ['an upgrade', 418, async world => ({ status: await upgradeStatus(world.port, 'aries.test') })],
    ] as [string, number, (world: World) => Promise<{ status: number }>][]) {
      it(`an app whose socket has been removed is replaced when ${what} finds it so`, async () => {
        const before = socketFolders()
        await using world = await start()
        world.write(
          'aries.test/app/index.js',
          `module.exports = (req, res) => res.end('aries'); module.exports.upgrade = (req, socket) => socket.end('HTTP/1.1 418 No\\r\\n\\r\\n')`,
        )
        await world.vhosts.load('aries.test')
        const [folder = ''] = socketFolders().filter(name => !before.includes(name))
        rmSync(folder, { recursive: true })
        assert.equal((await ask(world)).status, first)
        await eventually(() => world.events('load').length === 2)
        assert.match(String((await ask(world)).status), /200|418/)
      })
    }

    it('leaves no socket if the router is killed', async () => {
      await using world = await World.start()
      world.site('aries.test', 'aries')
      const source = `
        import { vhostRouter } from '${resolve('.build')}/lib/index.js'
        const vhosts = vhostRouter({ basePath: '${world.path()}', isolation: '${isolation}' })
        await vhosts.load('aries.test')
        console.log('loaded')
        setInterval(() => {}, 1000)`
      const router = spawn(process.execPath, ['--input-type=module', '-e', source], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await once(router.stdout, 'data')
      assert.equal(socketFolders(router.pid).length, 1)
      router.kill('SIGKILL')
      await eventually(() => socketFolders(router.pid).length === 0)
    })

    it('stats give the thread or process, its memory and processor time', async () => {
      await using world = await start()
      world.site('aries.test', 'aries')
      await world.body('aries.test')
      const { pid, threadId, memory, cpu, isolation: kind, restarts, lastExit } = onlyOf(world)
      assert.equal(kind, isolation)
      assert.equal(typeof (isolation === 'thread' ? threadId : pid), 'number')
      assert.equal(isolation === 'thread' ? pid : threadId, null)
      assert.ok((memory ?? 0) > 2 ** 20)
      assert.ok(isolation === 'thread' || (cpu ?? 0) > 0)
      assert.deepEqual([restarts, lastExit], [0, null])
    })

    it('does not keep the process of the router alive', async () => {
      await using world = await start()
      world.site('aries.test', 'aries')
      const [realPath, pid] = await resultOfChild<[string, number]>(`
        import { vhostRouter } from 'lib/index.js'
        const vhosts = vhostRouter({ basePath: '${world.path()}', isolation: '${isolation}' })
        const { realPath } = await vhosts.load('aries.test')
        console.log(JSON.stringify([realPath, vhosts.stats().vhosts[0].pid]))`)
      assert.equal(realPath, world.path('aries.test'))
      if (isolation === 'process') await eventually(() => !isAlive(pid))
    })
  })

  it('a vhost may ask for more isolation, but not for less', async () => {
    await using world = await World.start({
      isolation: ({ realPath }) => (realPath.endsWith('leo.test') ? isolation : 'none'),
    })
    for (const [name, wanted] of [
      ['aries.test', isolation],
      ['leo.test', 'none'],
      ['virgo.test', 'none'],
    ] as const) {
      world.site(name, name)
      world.write(`${name}/package.json`, JSON.stringify({ vhost: { isolation: wanted } }))
      assert.equal(await world.body(name), name)
    }
    const kinds = world.vhosts.stats().vhosts.map(({ hostnames, isolation: kind }) => [hostnames[0], kind])
    assert.deepEqual(Object.fromEntries(kinds), {
      'aries.test': isolation,
      'leo.test': isolation,
      'virgo.test': 'none',
    })
  })
}

/** The status with which an upgrade request is answered. */
async function upgradeStatus(port: number, host: string, path = '/'): Promise<number> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
  const [head] = await once(socket, 'data')
  socket.destroy()
  return Number(String(head).split(' ')[1])
}

/** The first unused port of this machine from there on, below the range from which the system picks ports. */
async function unusedPort(from: number): Promise<number> {
  const isUsed = await connected(from).then(
    () => true,
    () => false,
  )
  return isUsed ? await unusedPort(from + 1) : from
}

async function connected(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await new Promise<void>((done, fail) => socket.once('connect', done).once('error', fail)).finally(() =>
    socket.destroy(),
  )
}
