import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { describe, it } from 'node:test'
import { eventually, World } from './support/world.ts'

/** An app that answers when told to, by `globalThis.gates[name]()`. */
const GATED = `
  globalThis.gates ??= {}
  module.exports = (req, res, next) => {
    if (req.url === '/next') return next()
    if (req.url === '/hang') return
    if (req.url === '/stream') {
      res.write('begun ')
      globalThis.gates[req.vhost.hostname] = () => res.end('ended')
      return
    }
    if (req.url === '/upload') {
      let bytes = 0
      req.on('data', chunk => { bytes += chunk.length })
      return req.on('end', () => res.end(String(bytes)))
    }
    res.end('GENERATION')
  }
  module.exports.close = () => { (globalThis.closed ??= []).push('GENERATION') }
`

interface Globals {
  gates: Record<string, () => void>
  closed?: string[]
}
const globals = globalThis as unknown as Globals

function gated(world: World, host: string, generation: string): void {
  world.write(`${host}/app/index.js`, GATED.replaceAll('GENERATION', `${host} ${generation}`))
}

function closedOf(host: string): string[] {
  return (globals.closed ?? []).filter(closed => closed.startsWith(host))
}

async function inFlight(world: World, count: number): Promise<void> {
  await eventually(() => world.vhosts.stats().totals.inFlight === count)
}

describe('App', () => {
  it('keeps requests on the release on which they began, and disposes it after the last', async () => {
    await using world = await World.start()
    const host = 'slow.aries.test'
    gated(world, host, '1')
    assert.equal(await world.body(host), `${host} 1`)
    const slow = world.get(host, '/stream')
    await inFlight(world, 1)
    const reloaded = world.event('reload')
    gated(world, host, '2')
    await reloaded
    assert.equal(await world.body(host), `${host} 2`)
    assert.deepEqual(closedOf(host), [])
    assert.equal(world.vhosts.stats().vhosts.find(({ state }) => state === 'draining')?.inFlight, 1)
    const evicted = world.event('evict')
    globals.gates[host]?.()
    assert.equal((await slow).body, 'begun ended')
    const { reason, cut } = await evicted
    assert.deepEqual([reason, cut], ['changed', 0])
    assert.deepEqual(closedOf(host), [`${host} 1`])
  })

  it('cuts what is left at the end of drainTimeout', async () => {
    await using world = await World.start({ drainTimeout: 50 })
    const host = 'cut.aries.test'
    gated(world, host, '1')
    await world.body(host)
    const hanging = assert.rejects(world.get(host, '/hang'), { code: 'ECONNRESET' })
    await inFlight(world, 1)
    const evicted = world.event('evict')
    gated(world, host, '2')
    await hanging
    assert.equal((await evicted).cut, 1)
    assert.deepEqual(closedOf(host), [`${host} 1`])
    assert.equal(world.vhosts.stats().totals.draining, 0)
  })

  it('cuts at close() what has been draining before, too', async () => {
    await using world = await World.start({ drainTimeout: 3_600_000 })
    const host = 'hasten.aries.test'
    gated(world, host, '1')
    await world.body(host)
    const hanging = assert.rejects(world.get(host, '/hang'), { code: 'ECONNRESET' })
    await inFlight(world, 1)
    await world.vhosts.reload(host)
    assert.equal(world.vhosts.stats().totals.draining, 1)
    let isClosed = false
    void world.vhosts.close({ drainTimeout: 20 }).then(() => {
      isClosed = true
    })
    await eventually(() => isClosed)
    await hanging
    assert.deepEqual(
      world.events('evict').map(({ reason, cut }) => [reason, cut]),
      [
        ['closed', 0],
        ['reloaded', 1],
      ],
    )
  })

  for (const [how, end] of Object.entries({
    'at close()': (world: World) => world.vhosts.close({ drainTimeout: 20 }),
    'of a replaced app': async (world: World) => {
      world.site('aries.test', 'aries 2')
      await world.vhosts.reload('aries.test')
    },
  })) {
    it(`cuts what is left of HTTP/2 so that its clients notice, ${how}`, async () => {
      await using world = await World.start({ drainTimeout: 20 })
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => {
          if (req.url === '/begun') res.write('half')
          else if (req.url !== '/never') res.end('aries')
        }`,
      )
      const server = http2.createServer((req, res) =>
        world.vhosts(req as never, res as never, () => res.end()),
      )
      await new Promise<void>(resolve => server.listen(0, resolve))
      const session = http2.connect(`http://localhost:${(server.address() as AddressInfo).port}`)
      const ask = (path: string, method: string): http2.ClientHttp2Stream => {
        const stream = session.request({ ':path': path, ':method': method, ':authority': 'aries.test' })
        return stream.resume().on('error', () => {})
      }
      try {
        const whole = ask('/', 'GET')
        await once(whole, 'close')
        assert.equal(whole.rstCode, 0)
        const hanging = ['/begun', '/never'].flatMap(path => [ask(path, 'GET'), ask(path, 'POST')])
        await inFlight(world, 4)
        await end(world)
        await eventually(() => hanging.every(({ closed }) => closed))
        assert.deepEqual(
          hanging.map(({ rstCode }) => rstCode),
          [2, 2, 2, 2],
        )
      } finally {
        session.destroy()
        server.close()
      }
    })
  }

  it('counts a request as ended when it was handed on', async () => {
    let release: () => void = () => {}
    await using world = await World.start({}, (app, vhosts) =>
      app.use(vhosts).use((_, res) => {
        release = () => res.end('the next handler')
      }),
    )
    const host = 'next.aries.test'
    gated(world, host, '1')
    await world.body(host)
    const handedOn = world.get(host, '/next')
    await eventually(() => world.vhosts.stats().totals.requests === 2)
    await inFlight(world, 0)
    const evicted = world.event('evict')
    gated(world, host, '2')
    await evicted
    release()
    assert.equal((await handedOn).body, 'the next handler')
  })

  it('counts a request as ended when the client has gone, also requests queued on the same socket', async () => {
    await using world = await World.start()
    const host = 'gone.aries.test'
    gated(world, host, '1')
    await world.body(host)
    const socket = connect(world.port, '127.0.0.1')
    socket.on('error', () => {})
    const request = `GET /hang HTTP/1.1\r\nHost: ${host}\r\n\r\n`
    socket.write(request + request + request)
    await inFlight(world, 3)
    socket.destroy()
    await inFlight(world, 0)
  })

  for (const isolation of ['none', 'process'] as const) {
    it(`does not count requests whose HTTP/2 client has gone, or has been answered, before the app was loaded: isolation ${isolation}`, async () => {
      await using world = await World.start({ isolation })
      // Its answer is so long that it has to wait for its client to read.
      world.write(
        'late.test/app/index.mjs',
        `import { existsSync } from 'node:fs'
         while (!existsSync('${world.path('go')}')) await new Promise(resolve => setTimeout(resolve, 5))
         export default (req, res) => { if (!res.headersSent) res.end(Buffer.alloc(4_000_000)) }`,
      )
      let asked = 0
      const server = http2.createServer((req, res) => {
        asked++
        world.vhosts(req as never, res as never, () => res.end())
      })
      await new Promise<void>(resolve => server.listen(0, resolve))
      const session = http2.connect(`http://localhost:${(server.address() as AddressInfo).port}`)
      try {
        const streams = Array.from({ length: 5 }, () =>
          session.request({ ':path': '/', ':authority': 'late.test' }).on('error', () => {}),
        )
        await eventually(() => asked === streams.length)
        const closed = streams.map(stream => once(stream, 'close'))
        for (const stream of streams) stream.close(http2.constants.NGHTTP2_CANCEL)
        await Promise.all(closed)
        world.write('go', '')
        await world.event('load')
        await eventually(() => world.vhosts.stats().totals.requests === streams.length)
        await inFlight(world, 0)
      } finally {
        session.destroy()
        server.close()
      }
    })
  }

  it('does not count a request that a middleware has answered while the app was loaded', async () => {
    let answered: () => void = () => {}
    const isAnswered = new Promise<void>(resolve => {
      answered = resolve
    })
    await using world = await World.start({}, (app, vhosts) => {
      app.use((_, res, next) => {
        next()
        res.on('close', answered).status(503).end('too slow')
      })
      app.use(vhosts)
    })
    Object.assign(globals, { isAnswered })
    world.write(
      'late.test/app/index.mjs',
      `await globalThis.isAnswered
       await new Promise(setImmediate)
       export default () => {}`,
    )
    const agent = new http.Agent({ keepAlive: true })
    const answer = await world.get('late.test', '/', { agent })
    assert.deepEqual([answer.status, answer.body], [503, 'too slow'])
    await eventually(() => world.vhosts.stats().totals.requests === 1)
    await inFlight(world, 0)
    agent.destroy()
  })

  it('lets an upload that began on the old release end there', async () => {
    await using world = await World.start()
    const host = 'upload.aries.test'
    gated(world, host, '1')
    await world.body(host)
    const upload = http.request({
      port: world.port,
      method: 'POST',
      path: '/upload',
      headers: { host, 'transfer-encoding': 'chunked' },
    })
    upload.write('12345')
    await inFlight(world, 1)
    const reloaded = world.event('reload')
    gated(world, host, '2')
    await reloaded
    upload.end('67890')
    const response = await new Promise<http.IncomingMessage>(resolve => upload.once('response', resolve))
    response.setEncoding('utf8')
    let body = ''
    for await (const chunk of response) body += chunk
    assert.equal(body, '10')
  })

  it('passes what a handler throws or rejects with to the outer error handler', async () => {
    await using world = await World.start()
    world.write('throws.test/app/index.js', 'module.exports = () => { throw new Error("thrown") }')
    world.write('rejects.test/app/index.js', 'module.exports = async () => { throw new Error("rejected") }')
    for (const host of ['throws.test', 'rejects.test']) assert.equal((await world.get(host)).status, 500)
    assert.deepEqual(
      world.errors.map(error => (error as Error).message),
      ['thrown', 'rejected'],
    )
    assert.equal(world.vhosts.stats().totals.errors, 2)
    assert.equal(world.vhosts.stats().totals.inFlight, 0)
  })

  it('reports a close() that throws or rejects, and evicts the app all the same', async () => {
    await using world = await World.start()
    for (const [host, close] of [
      ['throws.test', '() => { throw new Error("cannot close") }'],
      ['rejects.test', 'async () => { throw new Error("cannot close") }'],
    ]) {
      world.write(
        `${host}/app/index.js`,
        `module.exports = (req, res) => res.end("1"); module.exports.close = ${close}`,
      )
      await world.body(host as string)
      const told = world.event('error')
      const evicted = world.event('evict')
      world.site(host as string, '2')
      assert.equal((await told).error.message, 'cannot close')
      await evicted
      assert.equal(await world.body(host as string), '2')
    }
  })

  it('keeps no request that has ended while its connection brings others', async () => {
    const seen: WeakRef<http.IncomingMessage>[] = []
    await using world = await World.start({}, (app, vhosts) => {
      app.use((req, _, next) => {
        seen.push(new WeakRef(req))
        next()
      })
      app.use(vhosts)
    })
    world.site('aries.test', 'aries')
    world.server.keepAliveTimeout = 0
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; n < 5; n++) assert.equal((await world.get('aries.test', '/', { agent })).body, 'aries')
    await eventually(() => {
      globalThis.gc?.()
      return seen.slice(0, 3).every(req => req.deref() === undefined)
    })
    agent.destroy()
    // Those that are sent at once wait for one another.
    seen.length = 0
    const socket = connect(world.port, '127.0.0.1').setEncoding('latin1')
    let received = ''
    socket.on('data', data => {
      received += data
    })
    socket.write('GET / HTTP/1.1\r\nHost: aries.test\r\n\r\n'.repeat(5))
    await eventually(() => received.split('aries').length > 5)
    await eventually(() => {
      globalThis.gc?.()
      return seen.slice(0, 3).every(req => req.deref() === undefined)
    })
    socket.destroy()
  })

  it('counts requests that are never answered, and only those, as in flight', async () => {
    await using world = await World.start()
    const host = 'count.aries.test'
    gated(world, host, '1')
    await Promise.all(Array.from({ length: 20 }, () => world.get(host)))
    const { totals, vhosts } = world.vhosts.stats()
    assert.deepEqual([totals.requests, totals.inFlight, vhosts[0]?.errors], [20, 0, 0])
  })
})
