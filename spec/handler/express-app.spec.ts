import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import express from 'express'
import type { VhostRouterOptions } from '../../lib/index.ts'
import { type Handler, World } from '../support/world.ts'

const require = createRequire(import.meta.url)
const HOST = 'aries.test'
const EXPRESSES = ['express', 'express4'] as const
type Name = (typeof EXPRESSES)[number]

/** The source of an app that requires this Express. */
function requiring(name: Name): string {
  return `const express = require(${JSON.stringify(require.resolve(name))}), app = express()`
}

/** A world behind an outer app of this Express. */
async function behind(
  name: Name,
  options: VhostRouterOptions = {},
  set: (app: express.Express, world: World) => void = (app, world) => app.use(world.vhosts),
): Promise<World> {
  const world = new World({ watch: false, getVersion: () => 1, ...options })
  const app = require(name)() as express.Express
  app.set('env', 'test')
  set(app, world)
  app.use((req: express.Request, res: express.Response) => {
    res.json({ fellThrough: true, ...whatIs(req, res, app) })
  })
  app.use((error: Error, req: express.Request, res: express.Response, _: express.NextFunction) => {
    res.status(500).json({ error: error.message, ...whatIs(req, res, app) })
  })
  world.server = createServer(app as unknown as Handler).listen(0) as Server
  await new Promise(resolve => world.server.once('listening', resolve))
  return world
}

function whatIs(req: express.Request, res: express.Response, app: express.Express): object {
  return {
    query: req.query,
    url: req.url,
    baseUrl: req.baseUrl,
    originalUrl: req.originalUrl,
    isOwn:
      req.app === app &&
      Object.getPrototypeOf(req) === app.request &&
      Object.getPrototypeOf(res) === app.response,
    params: req.params,
  }
}

async function json(
  world: World,
  path: string,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const { body } = await world.get(HOST, path, { headers })
  try {
    return JSON.parse(body)
  } catch {
    return assert.fail(body)
  }
}

/** Three ways in which an Express app comes to be the handler. */
const ENDINGS = {
  'exports the app': 'module.exports = app',
  'calls app.listen()': 'app.listen(3000)',
  'exports a server': `module.exports = require('node:http').createServer(app)`,
}

for (const outer of EXPRESSES) {
  for (const inner of EXPRESSES) {
    describe(`adaptExpressApp: ${inner} below ${outer}`, () => {
      for (const [how, ending] of Object.entries(ENDINGS)) {
        describe(`if it ${how}`, () => {
          const PROXY = `
            ${requiring(inner)}
            app.get('/', (req, res) => res.json({ ip: req.ip, protocol: req.protocol, host: req.hostname, set: app.get('trust proxy') }))`
          const FORWARDED = {
            'X-Forwarded-For': '203.0.113.7',
            'X-Forwarded-Proto': 'https',
            'X-Forwarded-Host': HOST,
          }
          const trusted = { ip: '203.0.113.7', protocol: 'https', host: HOST, set: false }
          const direct = { protocol: 'http', host: HOST, set: false }

          it('trusts the proxies that the outer app trusts', async () => {
            await using world = await behind(outer, {}, (app, { vhosts }) => {
              app.set('trust proxy', true)
              app.use(vhosts)
            })
            world.write(`${HOST}/app/index.js`, `${PROXY}\n${ending}`)
            assert.deepEqual(await json(world, '/', FORWARDED), trusted)
          })

          it('trusts nobody if the outer app trusts nobody', async () => {
            await using world = await behind(outer)
            world.write(`${HOST}/app/index.js`, `${PROXY}\n${ending}`)
            const { ip, ...rest } = await json(world, '/', FORWARDED)
            assert.deepEqual(rest, direct)
            assert.match(String(ip), /127\.0\.0\.1|::1/)
          })

          it('trusts the proxies that the option trustProxy names', async () => {
            await using world = await behind(outer, { trustProxy: 'loopback' })
            world.write(`${HOST}/app/index.js`, `${PROXY}\n${ending}`)
            assert.deepEqual(await json(world, '/', FORWARDED), trusted)
          })

          it('trusts the proxies that the app itself names', async () => {
            await using world = await behind(outer, {}, (app, { vhosts }) => {
              app.set('trust proxy', true)
              app.use(vhosts)
            })
            world.write(`${HOST}/app/index.js`, `${PROXY}\napp.set('trust proxy', false)\n${ending}`)
            const { ip, ...rest } = await json(world, '/', FORWARDED)
            assert.deepEqual(rest, direct)
            assert.match(String(ip), /127\.0\.0\.1|::1/)
          })

          it('finds its views in its own folder, unless it set others', async () => {
            await using world = await behind(outer, { appDir: 'web/app' })
            const source = `
              ${requiring(inner)}
              app.engine('txt', (file, options, done) => done(null, require('node:fs').readFileSync(file, 'utf8')))
              app.set('view engine', 'txt')
              app.get('/', (req, res) => res.render('page'))`
            world.write(`${HOST}/web/app/index.js`, `${source}\n${ending}`)
            world.write(`${HOST}/web/app/views/page.txt`, 'own page')
            world.write(
              'taurus.test/web/app/index.js',
              `${source}\napp.set('views', __dirname + '/pages')\n${ending}`,
            )
            world.write('taurus.test/web/app/pages/page.txt', 'set page')
            assert.equal(await world.body(HOST), 'own page')
            assert.equal(await world.body('taurus.test'), 'set page')
          })

          it('parses the query, and knows its place below a mount path', async () => {
            await using world = await behind(outer, {}, (app, { vhosts }) => app.use('/mount', vhosts))
            world.write(
              `${HOST}/app/index.js`,
              `
              ${requiring(inner)}
              app.get('/page', (req, res) => res.json({
                query: req.query, url: req.url, baseUrl: req.baseUrl, originalUrl: req.originalUrl, path: req.path,
                isOwn: req.app === app && res.app === app, vhost: req.vhost.hostname }))
              ${ending}`,
            )
            for (const query of ['a=1&b[]=2&b[]=3', 'a=2']) {
              const { query: parsed, ...rest } = await json(world, `/mount/page?${query}`)
              assert.equal((parsed as { a: string }).a, query.slice(2, 3))
              assert.deepEqual(rest, {
                url: `/page?${query}`,
                baseUrl: '/mount',
                originalUrl: `/mount/page?${query}`,
                path: '/page',
                isOwn: true,
                vhost: HOST,
              })
            }
          })

          it('parses its own query if another middleware has already read it', async () => {
            await using world = await behind(outer, {}, (app, { vhosts }) => {
              app.use((req, _res, next) => {
                void req.query.name
                next()
              })
              app.use(vhosts)
            })
            world.write(
              `${HOST}/app/index.js`,
              `${requiring(inner)}\napp.get('/', (req, res) => res.json(req.query))\n${ending}`,
            )
            assert.deepEqual(await json(world, '/?name=x'), { name: 'x' })
          })
        })
      }

      it('restores req and res before it hands a request on', async () => {
        await using world = await behind(outer, {}, (app, { vhosts }) => app.use('/mount', vhosts))
        world.write(
          `${HOST}/app/index.js`,
          `
          ${requiring(inner)}
          app.use('/deep/:id', (req, res, next) => { void req.query.a; next() })
          app.get('/error', () => { throw new Error('broken') })
          app.get('/next', (req, res, next) => next(new Error('given')))
          module.exports = app`,
        )
        const at = (path: string): object => ({
          query: { a: '1' },
          url: `/mount${path}?a=1`,
          baseUrl: '',
          originalUrl: `/mount${path}?a=1`,
          isOwn: true,
          params: {},
        })
        const seen = async (path: string): Promise<object> => {
          const { params, ...rest } = await json(world, `/mount${path}?a=1`)
          return { ...rest, params: params ?? {} }
        }
        assert.deepEqual(await seen('/deep/7'), { fellThrough: true, ...at('/deep/7') })
        assert.deepEqual(await seen('/none'), { fellThrough: true, ...at('/none') })
        assert.deepEqual(await seen('/error'), { error: 'broken', ...at('/error') })
        assert.deepEqual(await seen('/next'), { error: 'given', ...at('/next') })
      })

      it('leaves the query to the next handler as the outer app parses it', async () => {
        await using world = await behind(outer, {}, (app, { vhosts }) => {
          app.set('query parser', (text: string) => ({ outer: text }))
          app.use(vhosts)
        })
        world.write(
          `${HOST}/app/index.js`,
          `${requiring(inner)}\napp.use((req, res, next) => { void req.query; next() }); module.exports = app`,
        )
        const { query } = await json(world, '/?a=1')
        assert.deepEqual(query, { outer: 'a=1' })
      })

      it('serves a router, and its routes, cookies and redirects', async () => {
        await using world = await behind(outer)
        world.write(
          `${HOST}/app/index.js`,
          `
          ${requiring(inner)}
          const router = express.Router()
          router.get('/user/:id', (req, res) => res.cookie('id', req.params.id).redirect('/there'))
          app.use('/sub', router)
          module.exports = app`,
        )
        const { status, headers } = await world.get(HOST, '/sub/user/7')
        assert.equal(status, 302)
        assert.equal(headers.location, '/there')
        assert.deepEqual(headers['set-cookie'], ['id=7; Path=/'])
      })
    })
  }
}

describe('adaptExpressApp', () => {
  it('follows the outer app from request to request if several apps mount one router', async () => {
    await using world = new World({ watch: false, getVersion: () => 1 })
    world.write(
      `${HOST}/app/index.js`,
      `${requiring('express')}\napp.get('/', (req, res) => res.json({ ip: req.ip })); module.exports = app`,
    )
    const trusting = express().set('trust proxy', true).use(world.vhosts)
    const strict = express().use(world.vhosts)
    const [trustingServer, strictServer] = [trusting.listen(0), strict.listen(0)]
    const ipAt = async (server: Server): Promise<string> => {
      world.server = server
      const { ip } = await json(world, '/', { 'X-Forwarded-For': '203.0.113.7' })
      return String(ip)
    }
    for (let round = 0; round < 2; round++) {
      assert.equal(await ipAt(trustingServer), '203.0.113.7')
      assert.notEqual(await ipAt(strictServer), '203.0.113.7')
    }
    assert.ok((strictServer.address() as AddressInfo).port)
    trustingServer.closeAllConnections()
    trustingServer.close()
  })

  it('trusts nobody outside Express if an app that trusted somebody was evicted and is used again', async () => {
    await using world = new World({ watch: false, getVersion: () => 1, maxApps: 1 })
    world.write(
      `${HOST}/app/index.mjs`,
      `
      import { createRequire } from 'node:module'
      const app = createRequire(import.meta.url)(${JSON.stringify(require.resolve('express'))})()
      app.get('/', (req, res) => res.json({ ip: req.ip, evaluated: import.meta.url }))
      export default app`,
    )
    world.write('taurus.test/app/index.js', 'module.exports = (req, res) => res.end()')
    const asked = async (server: Server): Promise<Record<string, unknown>> => {
      world.server = server
      return await json(world, '/', { 'X-Forwarded-For': '203.0.113.7' })
    }
    const trusting = express().set('trust proxy', true).use(world.vhosts).listen(0)
    const before = await asked(trusting)
    assert.equal(before.ip, '203.0.113.7')
    await world.vhosts.load('taurus.test')
    const bare = createServer((req, res) => world.vhosts(req, res, () => res.end())).listen(0)
    await new Promise(resolve => bare.once('listening', resolve))
    const { ip, evaluated } = await asked(bare)
    assert.equal(evaluated, before.evaluated)
    assert.match(String(ip), /127\.0\.0\.1|::1/)
    trusting.closeAllConnections()
    trusting.close()
  })

  it('trusts nobody outside Express', async () => {
    await using world = new World({ watch: false, getVersion: () => 1 })
    world.write(
      `${HOST}/app/index.js`,
      `${requiring('express')}\napp.get('/', (req, res) => res.json({ ip: req.ip })); module.exports = app`,
    )
    world.server = createServer((req, res) => world.vhosts(req, res, () => res.end())).listen(0)
    await new Promise(resolve => world.server.once('listening', resolve))
    assert.match(
      String((await json(world, '/', { 'X-Forwarded-For': '203.0.113.7' })).ip),
      /127\.0\.0\.1|::1/,
    )
  })

  it('leaves other handlers as they are', async () => {
    await using world = await World.start()
    world.write(
      `${HOST}/app/index.js`,
      `
      const handler = (req, res) => res.end([handler.set, handler.settings, typeof handler.handle].join())
      handler.handle = () => {}
      module.exports = handler`,
    )
    assert.equal(await world.body(HOST), ',,function')
  })

  it('keeps every listener of a server, in its order', async () => {
    await using world = await World.start()
    world.write(
      `${HOST}/app/index.js`,
      `
      ${requiring('express')}
      app.get('/', (req, res) => res.send(req.first + ' ' + typeof res.once))
      const server = require('node:http').createServer()
      server.on('request', req => { req.first = 'first' })
      server.on('request', app)
      server.listen(80)`,
    )
    assert.equal(await world.body(HOST), 'first function')
  })

  for (const [name, starting] of [
    ['a function', `const starting = (req, res) => res.end('starting')`],
    [
      'an app of express',
      `const starting = require(${JSON.stringify(require.resolve('express'))})().use((req, res) => res.end('starting'))`,
    ],
    [
      'an app of express4',
      `const starting = require(${JSON.stringify(require.resolve('express4'))})().use((req, res) => res.end('starting'))`,
    ],
  ] as const) {
    it(`lets a server remove its listener again: ${name}`, async () => {
      await using world = await World.start()
      world.write(
        `${HOST}/app/index.js`,
        `
        ${starting}
        const server = require('node:http').createServer(starting).listen(80)
        process.once('spec:ready', () => {
          if (!server.listeners('request').includes(starting)) throw new Error('not its own')
          server.off('request', starting).on('request', (req, res) => res.end('ready'))
        })`,
      )
      assert.equal(await world.body(HOST), 'starting')
      process.emit('spec:ready' as never)
      assert.equal(await world.body(HOST), 'ready')
    })
  }
})
