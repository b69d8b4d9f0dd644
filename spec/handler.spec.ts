import assert from 'node:assert/strict'
import http from 'node:http'
import https from 'node:https'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import { exportsNothing, findHandler, upgradeOf } from '../lib/handler.ts'
import type { WebServer } from '../lib/launch/caught-listen.ts'
import type { Handle, Upgrade } from '../lib/launch/launch.ts'
import { World } from './support/world.ts'

const { resolve } = createRequire(import.meta.url)
const HOST = 'aries.test'
const handle: Handle = (_req, _res) => {}
const other: Handle = (_req, _res) => {}
const server = http.createServer()

function scopeOf(listening?: WebServer): Parameters<typeof findHandler>[2] {
  return { server: listening, hasHttp2: false }
}

async function found(exports: unknown, exportName?: string, listening?: WebServer): Promise<unknown> {
  const handler = await findHandler(exports, exportName, scopeOf(listening))
  assert.notEqual(typeof handler, 'string', handler as string)
  return typeof handler === 'string' ? undefined : (handler.server ?? handler.handle)
}

describe('findHandler', () => {
  describe('finds', () => {
    const cases: [name: string, exports: unknown, exportName?: string | undefined, expected?: unknown][] = [
      ['module.exports', handle],
      ['the default export', { default: handle }],
      ['the default export before app, handler', { handler: other, app: other, default: handle }],
      ['app before handler', { handler: other, app: handle }],
      ['handler', { other, handler: handle }],
      ['app where the default export is no handler', { default: { name: 'config' }, app: handle }],
      ['the default of a default: CommonJS compiled from an ES module', { default: { default: handle } }],
      [
        'app of the default: CommonJS imported by import()',
        { default: { app: handle }, 'module.exports': {} },
      ],
      ['handler of the default', { default: { handler: handle } }],
      ['a promise of a function', Promise.resolve(handle)],
      ['a default that is a promise', { default: Promise.resolve(handle) }],
      ['an app that is a promise', { app: Promise.resolve(handle) }],
      ['an http.Server', server, undefined, server],
      ['a default that is an http.Server', { default: server }, undefined, server],
      ['a promise of an http.Server', Promise.resolve(server), undefined, server],
      ['exportName', { default: other, app: other, site: handle }, 'site'],
      ['exportName in the default export', { default: { site: handle } }, 'site'],
      ['exportName default', { default: handle }, 'default'],
      ['exportName that is a promise', { site: Promise.resolve(handle) }, 'site'],
      ['exportName default of module.exports', handle, 'default'],
      ['what default() of module.exports resolves to', async () => server, 'default()', server],
      ['what exportName() gives', { createApp: () => handle }, 'createApp()'],
      ['what async exportName() resolves to', { createApp: async () => server }, 'createApp()', server],
      ['exportName() in the default export', { default: { createApp: async () => handle } }, 'createApp()'],
      ['exportName that every object inherits', { default: { toString: handle } }, 'toString'],
      ['exportName() that was called already', { createApp: Promise.resolve(handle) }, 'createApp()'],
    ]
    for (const [name, exports, exportName, expected = handle] of cases) {
      it(name, async () => {
        assert.equal(await found(exports, exportName), expected)
      })
    }

    it('the server that listens if nothing else is a handler', async () => {
      assert.equal(await found({}, undefined, server), server)
      assert.equal(await found({ config: 1 }, undefined, server), server)
      assert.equal(await found({ app: handle }, undefined, server), handle)
      const secure = https.createServer()
      assert.equal(await found({ config: 1 }, undefined, secure), secure)
    })

    it('what exportName names, even if a server listens', async () => {
      assert.equal(await found({ site: handle }, 'site', server), handle)
      assert.equal(typeof (await findHandler({}, 'site', scopeOf(server))), 'string')
    })
  })

  describe('recognizes', () => {
    const fetch = (): Response => new Response()
    const koa = { callback: () => other, use: () => {} }
    const own = {
      fetch,
      ...koa,
      ready: () => {},
      routing: other,
      init: () => {},
      getHttpAdapter: () => {},
      getHttpServer: () => server,
    }
    class Site {
      fetch = fetch
      handler = other
    }
    const cases: [name: string, exports: unknown, expected: unknown][] = [
      ['a function, whatever it has', Object.assign(() => {}, own), undefined],
      ['a server, whatever it has', Object.assign(http.createServer(), own), undefined],
      ['an app of Koa before fetch()', { ...koa, fetch }, other],
      ['an app of Fastify before that of Koa', { ...koa, ready: () => {}, routing: handle }, handle],
      ['app beside fetch()', { fetch, app: handle }, handle],
      ['handler beside fetch()', { default: { fetch, handler: handle } }, handle],
      ['fetch() of the default export before app', { default: { fetch }, app: handle }, 'fetch'],
      ['fetch() of a class that has a handler of its own', new Site(), 'fetch'],
      ['fetch() beside a default export that is no handler', { default: { name: 'config' }, fetch }, 'fetch'],
    ]
    for (const [name, exports, expected = exports] of cases) {
      it(name, async () => {
        const answer = await found(exports)
        if (expected !== 'fetch') assert.equal(answer, expected)
        else assert.ok(typeof answer === 'function' && answer !== handle && answer !== other)
      })
    }

    for (const [name, exports] of [
      ['an object with callback() alone', { callback: () => other }],
      ['an object with use() alone', { use: () => {} }],
      ['an object with ready() alone', { ready: () => {} }],
      ['an object with init() alone', { init: () => {} }],
      ['an object whose fetch is no function', { fetch: 'https://example.com/' }],
    ] as const) {
      it(`no handler: ${name}`, async () => {
        assert.match(
          String(await findHandler(exports, undefined, scopeOf())),
          /^the module exports an object/,
        )
      })
    }
  })

  describe('names what was exported and what is accepted:', () => {
    class Site {}
    const cases: [exports: unknown, named: string][] = [
      [undefined, 'exports nothing'],
      [null, 'exports nothing'],
      [{}, 'exports nothing'],
      [{ default: {} }, 'exports nothing'],
      [{ __esModule: true }, 'exports nothing'],
      [{ default: {}, 'module.exports': {} }, 'exports nothing'],
      ['text', 'exports a string'],
      [7, 'exports a number'],
      [Site, 'exports the class "Site"'],
      [class {}, 'exports the class ""'],
      [{ default: Site }, 'exports the class "Site"'],
      [new Site(), 'exports an object of the class "Site"'],
      [{ default: new Site() }, 'exports an object of the class "Site"'],
      [Object.create({}, { constructor: { get: () => assert.fail() } }), 'exports an object'],
      [{ default: 7 }, 'exports a number'],
      [Promise.resolve({ a: 1 }), 'exports an object with "a"'],
      [
        { one: 1, two: handle },
        `exports an object with "one", "two"; exportName names one of them, such as 'two', or 'two()' to call it`,
      ],
      [
        { default: { createApp: handle } },
        `exports an object with "createApp"; exportName names one of them, such as 'createApp', or 'createApp()' to call it`,
      ],
      [{ 'create-app': handle }, 'exports an object with "create-app"'],
      [{ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 }, 'exports an object with "a", "b", "c", "d", "e" …'],
      [{ ['x'.repeat(100)]: 1 }, `exports an object with "${'x'.repeat(40)}"`],
    ]
    for (const [exports, named] of cases) {
      it(named, async () => {
        const words = await findHandler(exports, undefined, scopeOf())
        assert.equal(
          words,
          `the module ${named}; expected a function (req, res, next) such as an Express app or router, an http.Server, an app of Koa, Fastify or NestJS, an object with fetch(request) such as an app of Hono or h3, or a promise of one; or call listen()`,
        )
      })
    }

    it('by exportName', async () => {
      assert.match(
        String(await findHandler({ a: 1 }, 'site', scopeOf())),
        /^export 'site' is nothing, the module exports an object with "a"; expected /,
      )
      assert.match(
        String(await findHandler({ site: () => undefined }, 'site()', scopeOf())),
        /^export 'site\(\)' is nothing; expected /,
      )
      assert.match(
        String(await findHandler({ site: Site }, 'site', scopeOf())),
        /^export 'site' is the class "Site"; expected /,
      )
      for (const name of ['toString', 'constructor', 'call']) {
        for (const exports of [{ a: 1 }, { default: {} }, () => {}]) {
          assert.match(
            String(await findHandler(exports, name, scopeOf())),
            new RegExp(`^export '${name}' is nothing, the module exports `),
          )
        }
      }
    })
  })

  describe('keeps `this` for a method of an exported object of a class', () => {
    class Site {
      readonly calls: unknown[] = []
      handler(...values: Parameters<Handle>): void {
        this.calls.push(values)
      }
      create(): Handle {
        return this.handler.bind(this)
      }
    }
    const values = [{}, {}, () => {}] as unknown as Parameters<Handle>

    for (const [name, exportName] of [
      ['handler', undefined],
      ['exportName', 'handler'],
      ['exportName()', 'create()'],
    ] as const) {
      for (const isDefault of [false, true]) {
        it(`${name}${isDefault ? ' of the default export' : ''}`, async () => {
          const site = new Site()
          const found = await findHandler(isDefault ? { default: site } : site, exportName, scopeOf())
          assert.ok(typeof found !== 'string')
          found.handle(...values)
          assert.deepEqual(site.calls, [values])
        })
      }
    }

    it('but leaves an app as it is, which has properties', async () => {
      const app = Object.assign((_req: unknown, _res: unknown) => {}, { settings: {} })
      const site = new (class {
        get app(): unknown {
          return app
        }
      })()
      assert.equal(await found(site), app)
    })
  })

  it('rejects with what an exported promise rejects with', async () => {
    const broken = new Error('broken')
    await assert.rejects(findHandler(Promise.reject(broken), undefined, scopeOf()), broken)
    await assert.rejects(findHandler({ app: Promise.reject(broken) }, undefined, scopeOf()), broken)
  })

  describe('finds close() and upgrade()', () => {
    const calls: unknown[] = []
    const hook = function (this: unknown): void {
      calls.push(this)
    }

    for (const [name, make] of [
      ['beside the handler', () => ({ app: handle, close: hook, upgrade: hook })],
      ['beside the default export', () => ({ default: handle, close: hook, upgrade: hook })],
      ['on the default export', () => ({ default: { app: handle, close: hook, upgrade: hook } })],
      ['on the handler', () => Object.assign(() => {}, { close: hook, upgrade: hook })],
      ['beside a server', () => ({ app: http.createServer(), close: hook, upgrade: hook })],
    ] as const) {
      it(name, async () => {
        const exports = make()
        const handler = await findHandler(exports, undefined, scopeOf())
        assert.ok(typeof handler !== 'string')
        calls.length = 0
        handler.close?.()
        handler.upgrade?.({} as never, {} as never, Buffer.alloc(0))
        const owner = 'default' in exports && 'close' in exports.default ? exports.default : exports
        assert.deepEqual(calls, [owner, owner])
      })
    }

    it('on a server, whenever its listeners come and go', async () => {
      const own = http.createServer()
      const listener = (...values: unknown[]): unknown => calls.push(...values)
      const values = [{}, {}, Buffer.alloc(0)] as unknown as Parameters<Upgrade>
      for (const [exports, listening] of [
        [own, undefined],
        [handle, own],
        [undefined, own],
      ] as const) {
        const handler = await findHandler(
          exports,
          undefined,
          scopeOf(exports === handle ? undefined : listening),
        )
        assert.ok(typeof handler !== 'string')
        assert.equal(upgradeOf(handler, listening), undefined)
        own.on('upgrade', listener)
        calls.length = 0
        upgradeOf(handler, listening)?.(...values)
        assert.deepEqual(calls, values)
        own.off('upgrade', listener)
        assert.equal(upgradeOf(handler, listening), undefined)
      }
    })

    it('gives none if there is none', async () => {
      for (const exports of [handle, { default: handle }, http.createServer()]) {
        const handler = await findHandler(exports, undefined, scopeOf())
        assert.ok(typeof handler !== 'string')
        assert.equal(handler.close, undefined)
        assert.equal(handler.upgrade, undefined)
      }
    })

    it('never takes the close() of a server for that of the module: its port was never bound', async () => {
      const own = http.createServer()
      let closed = 0
      own.on('close', () => closed++)
      const handler = await findHandler(own, undefined, scopeOf())
      assert.ok(typeof handler !== 'string')
      handler.close?.()
      await new Promise(setImmediate)
      assert.equal(closed, 1)
    })
  })

  describe('serves', () => {
    const apps: Record<string, string> = {
      'a plain function': `module.exports = (req, res) => res.end('answer')`,
      'an async function': `module.exports = async (req, res) => { await null; res.end('answer') }`,
      'a function with an arity of its own': `module.exports = (...values) => values[1].end('answer')`,
      'a connect app': `
        const app = require(${JSON.stringify(resolve('connect'))})()
        app.use('/', (req, res) => res.end('answer'))
        module.exports = app`,
    }
    for (const express of ['express', 'express4']) {
      const required = `require(${JSON.stringify(resolve(express))})`
      apps[`an app of ${express}`] =
        `const app = ${required}(); app.get('/', (req, res) => res.send('answer')); module.exports = app`
      apps[`a router of ${express}`] =
        `const router = ${required}.Router(); router.get('/', (req, res) => res.end('answer')); module.exports = router`
      apps[`an http.Server around an app of ${express}`] =
        `const app = ${required}(); app.get('/', (req, res) => res.send('answer')); module.exports = require('node:http').createServer(app)`
    }
    for (const [name, source] of Object.entries(apps)) {
      it(name, async () => {
        await using world = await World.start()
        world.write(`${HOST}/app/index.js`, source)
        assert.equal(await world.body(HOST), 'answer')
      })
    }

    it('passes on what a handler does not answer, except for a server', async () => {
      await using world = await World.start()
      for (const [name, source, status] of [
        ['function', 'module.exports = (req, res, next) => next()', 404],
        [
          'router',
          `module.exports = require(${JSON.stringify(resolve('express'))}).Router().get('/other', () => {})`,
          404,
        ],
        ['connect', `module.exports = require(${JSON.stringify(resolve('connect'))})()`, 404],
        ['deaf', `module.exports = require('node:http').createServer()`, 404],
      ] as const) {
        world.write(`${name}.${HOST}/app/index.js`, source)
        const answer = await world.get(`${name}.${HOST}`)
        assert.deepEqual([name, answer.status, answer.body], [name, status, `nobody serves ${name}.${HOST}`])
      }
    })

    it('passes on what a handler throws, rejects with, or passes to next()', async () => {
      await using world = await World.start()
      for (const [name, source] of [
        ['throws', `module.exports = () => { throw new Error('broken') }`],
        ['rejects', `module.exports = async () => { throw new Error('broken') }`],
        ['nexts', `module.exports = (req, res, next) => next(new Error('broken'))`],
        [
          'routes',
          `module.exports = require(${JSON.stringify(resolve('express'))})().get('/', async () => { throw new Error('broken') })`,
        ],
        ['serves', `module.exports = require('node:http').createServer(() => { throw new Error('broken') })`],
      ] as const) {
        world.errors.length = 0
        world.write(`${name}.${HOST}/app/index.js`, source)
        const answer = await world.get(`${name}.${HOST}`)
        assert.deepEqual([name, answer.status, answer.body], [name, 500, 'outer error'])
        assert.equal((world.errors[0] as Error).message, 'broken')
      }
    })
  })
})

describe('exportsNothing', () => {
  for (const [exports, expected] of [
    [undefined, true],
    [null, true],
    [{}, true],
    [{ default: {} }, true],
    [{ default: undefined }, true],
    [{ default: {}, 'module.exports': {} }, true],
    [Object.create(null), true],
    [{ close: handle, upgrade: handle }, true],
    [{ default: { close: handle }, close: handle }, true],
    [{ app: 1 }, false],
    [{ close: 1 }, false],
    [{ close: handle, app: handle }, false],
    [{ default: handle, close: handle }, false],
    [{ default: {}, app: 1 }, false],
    [handle, false],
    [server, false],
    [Promise.resolve(), false],
    [new (class {})(), false],
    ['', false],
  ] as const) {
    it(`is ${expected} of ${typeof exports} ${JSON.stringify(exports)}`, () => {
      assert.equal(exportsNothing(exports), expected)
    })
  }
})
