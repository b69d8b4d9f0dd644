import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { VhostError } from '../../lib/index.ts'
import { eventually, World } from '../support/world.ts'

/** A site whose handler is probed at /healthz and runs `healthz` there instead of its normal answer. */
function site(world: World, name: string, healthz: string, probe: unknown = '/healthz'): void {
  world.write(
    `${name}/app/index.js`,
    `module.exports = (req, res, next) => {
      if (req.url !== '/healthz') return res.end(${JSON.stringify(name)})
      ${healthz}
    }
    module.exports.close = () => process.emit('spec:closed', ${JSON.stringify(name)})`,
  )
  world.write(`${name}/package.json`, JSON.stringify({ vhost: { probe } }))
}

const FAILING: [what: string, healthz: string, message: RegExp, probe?: unknown][] = [
  ['an error status', 'res.writeHead(503).end()', /its probe GET \/healthz was answered with 503/],
  ['another status than asked for', 'res.end()', /was answered with 200/, { path: '/healthz', status: 204 }],
  ['falling through', 'next()', /was answered with 404/],
  ['falling through with what is no error', 'next(false)', /was answered with 404/],
  ['an error passed on', 'next(new Error("no database"))', /was answered with 500/],
  ['an error thrown', 'throw new Error("no database")', /was answered with 500/],
  ['a rejection', 'return Promise.reject(new Error("no database"))', /was answered with 500/],
  ['silence', '', /was not answered within 50 ms/, { path: '/healthz', timeout: 50 }],
  ['half an answer', 'res.write("x")', /was not answered within 50 ms/, { path: '/healthz', timeout: 50 }],
  ['a socket cut', 'req.socket.destroy()', /was not answered$/],
  ['half an answer, then an error', 'res.write("x"); next(new Error("no database"))', /was not answered$/],
]

describe('A probe', () => {
  for (const [what, healthz, message, probe] of FAILING) {
    it(`that meets ${what} fails the load, first or later, and closes what was loaded`, async t => {
      const closed: string[] = []
      const note = (name: string): void => {
        closed.push(name)
      }
      process.on('spec:closed', note)
      t.after(() => process.off('spec:closed', note))
      await using world = await World.start({ updateInterval: 30 })
      site(world, 'first', healthz, probe)
      world.link('first.test', 'first')
      assert.equal((await world.get('first.test')).status, 500)
      assert.match((world.errors[0] as Error).message, message)
      assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_LOAD')
      if (healthz.includes('database') && !healthz.includes('write'))
        assert.match(String((world.errors[0] as Error).cause), /no database/)
      await eventually(() => closed.includes('first'))
      site(world, 'good', 'res.end("fine")')
      site(world, 'bad', healthz, probe)
      world.link('aries.test', 'good')
      assert.equal(await world.body('aries.test'), 'good')
      const failed = world.event('error', ({ serving }) => serving !== undefined)
      world.link('aries.test', 'bad')
      assert.match((await failed).error.message, message)
      assert.equal(await world.body('aries.test'), 'good')
      site(world, 'bad', 'res.end("fine")')
      await eventually(async () => assert.equal(await world.body('aries.test'), 'bad'))
    })
  }

  it('is sent before the switch, under a hostname of the vhost, once', async () => {
    await using world = await World.start()
    world.write(
      'aries/app/index.js',
      `const seen = []
      module.exports = (req, res) => {
        const { method, url, headers, vhost, socket } = req
        seen.push({ method, url, host: headers.host, agent: headers['user-agent'], vhost, from: socket.remoteAddress })
        res.end(JSON.stringify(seen))
      }`,
    )
    world.write('aries/package.json', '{"vhost": {"probe": "/healthz?deep=1"}}')
    world.link('aries.test', 'aries')
    const [probed, asked, ...more] = JSON.parse(await world.body('aries.test'))
    assert.deepEqual(probed, {
      method: 'GET',
      url: '/healthz?deep=1',
      host: 'aries.test',
      agent: 'express-van',
      vhost: {
        hostname: 'aries.test',
        host: 'aries.test',
        path: world.path('aries.test'),
        realPath: world.path('aries'),
        length: 1,
        0: 'aries.test',
      },
      from: '127.0.0.1',
    })
    assert.deepEqual([asked.url, more], ['/', []])
    assert.equal(world.vhosts.stats().totals.requests, 1)
    await world.vhosts.load('aries.test')
    await world.vhosts.reload('aries.test')
    assert.equal(JSON.parse(await world.body('aries.test'))[0].url, '/healthz?deep=1')
  })

  it('accepts a redirect, or the status that it asks for', async () => {
    await using world = await World.start()
    site(world, 'aries.test', 'res.writeHead(308, { location: "/" }).end()')
    site(world, 'leo.test', 'res.writeHead(401).end("x".repeat(1e6))', { path: '/healthz', status: 401 })
    assert.equal(await world.body('aries.test'), 'aries.test')
    assert.equal(await world.body('leo.test'), 'leo.test')
  })

  it('keeps the modules of the serving app in place when it fails', async () => {
    await using world = await World.start({ updateInterval: 30 })
    world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.end(require("./late.js"))')
    world.write('aries.test/app/late.js', 'module.exports = "one"')
    assert.equal(await world.body('aries.test'), 'one')
    const failed = world.event('error')
    world.write('aries.test/app/late.js', 'module.exports = "two"')
    world.write('aries.test/package.json', '{"vhost": {"probe": {"path": "/", "status": 204}}}')
    await failed
    assert.equal(await world.body('aries.test'), 'one')
  })

  it('counts towards loadTimeout', async () => {
    await using world = await World.start({ loadTimeout: 300 })
    site(world, 'aries.test', '')
    assert.equal((await world.get('aries.test')).status, 503)
    assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_LOAD_TIMEOUT')
  })

  it('works with the handler of any framework', async () => {
    await using world = await World.start()
    const packages = process.cwd()
    const sites: Record<string, string> = {
      express: `const app = require('${packages}/node_modules/express')()
        app.get('/healthz', (req, res) => res.json({ ip: req.ip, secure: req.secure }))
        app.get('/', (req, res) => res.send('express'))
        module.exports = app`,
      express4: `const app = require('${packages}/node_modules/express4')()
        app.get('/healthz', (req, res) => res.send(req.hostname))
        app.get('/', (req, res) => res.send('express4'))
        module.exports = app`,
      koa: `const Koa = require('${packages}/node_modules/koa')
        const app = new Koa()
        app.use(ctx => { ctx.body = ctx.path === '/healthz' ? { ip: ctx.ip } : 'koa' })
        module.exports = app.callback()`,
      fastify: `const app = require('${packages}/node_modules/fastify')()
        app.get('/healthz', async request => ({ ip: request.ip }))
        app.get('/', async () => 'fastify')
        module.exports = app.ready().then(() => app.routing)`,
      server: `const server = require('node:http').createServer((req, res) => {
          res.setTimeout(1000)
          res.end('server')
        })
        module.exports = server`,
      listening: `require('node:http').createServer((req, res) => res.end('listening')).listen(3000)`,
      async: `module.exports = async (req, res) => { await null; res.end('async') }`,
    }
    for (const [name, source] of Object.entries(sites)) {
      world.write(`${name}.test/app/index.js`, source)
      world.write(`${name}.test/package.json`, '{"vhost": {"probe": "/healthz"}}')
      assert.equal(await world.body(`${name}.test`), name)
    }
    assert.deepEqual(world.errors, [])
  })
})
