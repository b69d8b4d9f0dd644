import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import compression from 'compression'
import { vhostRouter } from '../lib/index.ts'
import {
  type BoardChange,
  type BoardSnapshot,
  type StatusPageOptions,
  statusPage,
} from '../lib/status-page.ts'
import { type Answer, eventually, type RequestOptions, World } from './support/world.ts'

const HOST = 'status.test'

describe('statusPage()', () => {
  it('needs a host and a function that authorizes, and accepts no unknown option', async () => {
    await using vhosts = vhostRouter()
    const authorize = () => true
    for (const [options, message] of [
      [undefined, /needs an object with 'host' and 'authorize', not undefined/],
      [{ authorize }, /'host' .* must be a hostname, not undefined/],
      [{ host: 'a..b', authorize }, /must be a hostname, not "a..b": a label is empty/],
      [{ host: HOST }, /'authorize' .* must be a function, not undefined/],
      [{ host: HOST, authorize: true }, /must be a function, not true/],
      [{ host: HOST, authorize, title: 1 }, /'title' .* must be a string, not 1/],
      [{ host: HOST, authorise: authorize }, /no option "authorise"; did you mean 'authorize'/],
    ] as const) {
      assert.throws(() => statusPage(vhosts, options as unknown as StatusPageOptions), {
        code: 'ERR_VHOST_OPTION',
        message,
      })
    }
  })

  it('says so if it is given anything but a router', () => {
    for (const given of [undefined, null, { host: HOST, authorize: () => true }]) {
      assert.throws(() => statusPage(given as never, { host: HOST, authorize: () => true }), {
        code: 'ERR_VHOST_OPTION',
        message: 'statusPage() needs the router that vhostRouter() returns, not a value without stats()',
      })
    }
  })

  it('answers on its own host alone, however that is spelt, and no vhost can have that host', async () => {
    await using world = await withPage({ host: 'Status.Test:3000' })
    world.site('status.test', 'a tenant')
    world.site('aries.test', 'aries')
    for (const host of ['status.test', 'STATUS.test.', 'status.test:8080']) {
      assert.match((await world.get(host)).body, /<title>express-van<\/title>/)
    }
    assert.equal((await world.get(HOST, '/app')).status, 404)
    assert.equal(await world.body('aries.test'), 'aries')
    for (const path of ['/status.json', '/metrics', '/events', '/why?host=x', '/reload']) {
      assert.equal(await world.body('aries.test', path), 'aries')
      assert.equal((await world.get('evil.test', path)).status, 404)
    }
    const rebound = await world.get('evil.test', '/', { headers: { 'x-forwarded-host': HOST } })
    assert.equal(rebound.body, 'nobody serves this')
    assert.equal((await world.get('127.0.0.1')).status, 404)
    assert.match(
      await world.raw(
        'GET http://status.test/status.json HTTP/1.1\r\nHost: status.test\r\nConnection: close\r\n\r\n',
      ),
      /^HTTP\/1.1 200 /,
    )
    assert.match(
      await world.raw('GET http://status.test/ HTTP/1.1\r\nHost: aries.test\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 400 /,
    )
  })

  it('leaves no way to a vhost with its name, or a wildcard for it', async () => {
    await using world = await World.start(
      { vhostDir: ['%0', '.any.%2+'], trustProxy: true },
      (app, vhosts) => {
        app.use(vhosts.static())
        app.use(vhosts)
        app.use(statusPage(vhosts, { host: 'Status.Tenants.Test', authorize: () => true }))
      },
    )
    const app = `module.exports = (req, res) => res.end('a tenant')
      module.exports.upgrade = (req, socket) => socket.end('HTTP/1.1 101 A tenant\\r\\n\\r\\n')`
    world.write('.any.tenants.test/app/index.js', app)
    world.write('.any.tenants.test/static/page.txt', 'a tenant')
    for (const folder of ['.any.tenants.test', 'status.tenants.test']) {
      world.write(`${folder}/app/index.js`, app)
      world.write(`${folder}/static/page.txt`, 'a tenant')
      const upgrade = (host: string) =>
        world.raw(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
      assert.match((await world.get('status.tenants.test')).body, /<title>express-van/)
      assert.equal((await world.get('status.tenants.test', '/page.txt')).status, 404)
      assert.match(await upgrade('status.tenants.test'), /^HTTP\/1.1 404 /)
      const forwarded = await world.get('x.test', '/', {
        headers: { 'x-forwarded-host': 'status.tenants.test' },
      })
      assert.equal(forwarded.status, 404)
      assert.equal(await world.body('other.tenants.test'), 'a tenant')
      assert.match(await upgrade('other.tenants.test'), /^HTTP\/1.1 101 A tenant/)
    }
    const { outcome, notes } = await world.vhosts.why('status.tenants.test:80')
    assert.deepEqual([outcome, notes], ['no vhost', ['the name is reserved: no vhost has it']])
  })

  it('gives a browser nothing on behalf of another site, except the page itself, which may be linked to', async () => {
    await using world = await withPage()
    for (const path of ['/status.json', '/metrics', '/events', '/why?host=aries.test']) {
      for (const site of ['cross-site', 'same-site']) {
        assert.equal((await world.get(HOST, path, { headers: { 'sec-fetch-site': site } })).status, 403)
      }
    }
    for (const path of ['/', '/status.json']) {
      for (const site of ['same-origin', 'none']) {
        assert.equal((await world.get(HOST, path, { headers: { 'sec-fetch-site': site } })).status, 200)
      }
    }
    assert.equal((await world.get(HOST, '/', { headers: { 'sec-fetch-site': 'cross-site' } })).status, 200)
  })

  it('shows nothing to anyone who is not authorized', async () => {
    let authorize: StatusPageOptions['authorize'] = () => false
    await using world = await withPage({ authorize: req => authorize(req) })
    world.site('aries.test', 'one')
    for (authorize of [() => false, async () => false, () => 'yes' as unknown as boolean]) {
      for (const [method, path] of [
        ['GET', '/'],
        ['GET', '/status.json'],
        ['GET', '/events'],
        ['GET', '/metrics'],
        ['GET', '/why?host=aries.test'],
        ['POST', '/reload?host=aries.test'],
        ['GET', '/nothing'],
      ] as const) {
        const { status, body, headers } = await world.get(HOST, path, { method })
        assert.deepEqual([status, body], [401, 'Unauthorized\n'], `${method} ${path}`)
        assert.match(String(headers['www-authenticate']), /^Basic /)
      }
    }
    assert.deepEqual(world.told, [])
    for (authorize of [
      () => {
        throw new Error('no directory')
      },
      async () => {
        throw new Error('no directory')
      },
      // Rejects with undefined, which passed to next() would mean that the request is handed on.
      () => Promise.reject(),
      () => {
        throw null
      },
    ]) {
      assert.equal((await world.get(HOST)).body, 'outer error')
    }
  })

  it('answers each path in its own way, and refuses what does not fit', async () => {
    await using world = await withPage()
    for (const [method, path, status, allow] of [
      ['GET', '/', 200],
      ['HEAD', '/', 200],
      ['HEAD', '/status.json', 200],
      ['HEAD', '/metrics', 200],
      ['HEAD', '/events', 200],
      ['POST', '/', 405, 'GET, HEAD'],
      ['OPTIONS', '/status.json', 405, 'GET, HEAD'],
      ['DELETE', '/events', 405, 'GET, HEAD'],
      ['GET', '/reload?host=aries.test', 405, 'POST'],
      ['HEAD', '/reload', 405, 'POST'],
      ['GET', '/nothing', 404],
      ['GET', '/constructor', 404],
      ['GET', '//', 404],
      ['GET', '/%', 404],
    ] as const) {
      const answer = await world.get(HOST, path, { method })
      assert.deepEqual([answer.status, answer.headers.allow], [status, allow], `${method} ${path}`)
      const kept = path === '/events' && status === 200 ? 'no-store, no-transform' : 'no-store'
      assert.equal(answer.headers['cache-control'], kept)
      assert.equal(answer.headers['x-content-type-options'], 'nosniff')
      if (method === 'HEAD') assert.equal(answer.body, '')
    }
  })

  it('is one file that may load nothing, and treats its title as text', async () => {
    const title = `</title><script>alert(1)</script> & "co"`
    await using world = await withPage({ title })
    const { body, headers } = await world.get(HOST)
    assert.ok(body.includes('&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;co&quot;'))
    assert.equal(body.match(/<script/g)?.length, 1)
    assert.equal(body.match(/<\/script/g)?.length, 1)
    assert.doesNotMatch(body, /(?:src|href)="(?!data:,"|#|status\.json")/)
    const policy = String(headers['content-security-policy'])
    assert.match(
      policy,
      /^default-src 'none'; script-src 'sha256-[^' ]+'; style-src 'sha256-[^' ]+'; connect-src 'self'/,
    )
    assert.doesNotMatch(policy, /unsafe|\*|http/)
  })

  it('gives stats and deploys as JSON', async () => {
    await using world = await withPage()
    world.site('aries.test', 'one')
    await world.get('aries.test')
    const { deploys, ...stats } = JSON.parse(await world.body(HOST, '/status.json'))
    assert.deepEqual(stats, JSON.parse(JSON.stringify(world.vhosts.stats())))
    assert.deepEqual(
      deploys.map(({ event, hostnames }: { event: string; hostnames: string[] }) => [event, ...hostnames]),
      [['load', 'aries.test']],
    )
  })

  it('gives metrics to an authorized monitor', async () => {
    await using world = await withPage()
    world.site('aries.test', 'one')
    await world.get('aries.test')
    const { body, headers } = await world.get(HOST, '/metrics')
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(body, world.vhosts.metrics())
    assert.match(body, /^express_van_requests_total\{hostname="aries\.test"\} 1$/m)
  })

  it('does not count as a listener of errors: they still go to stderr', async t => {
    const written = t.mock.method(console, 'error', () => {})
    const base = mkdtempSync(join(tmpdir(), 'express-van-'))
    mkdirSync(join(base, 'bad.test/app'), { recursive: true })
    writeFileSync(join(base, 'bad.test/app/index.js'), 'throw new Error("boom")')
    try {
      await using vhosts = vhostRouter({ basePath: base })
      statusPage(vhosts, { host: HOST, authorize: () => true })
      await assert.rejects(vhosts.load('bad.test'), { code: 'ERR_VHOST_LOAD' })
      assert.match(String(written.mock.calls[0]?.arguments[0]), /bad\.test: nothing serves/)
    } finally {
      rmSync(base, { recursive: true })
    }
  })

  it('explains a host in the words of the command line', async () => {
    await using world = await withPage()
    world.site('aries.test', 'one')
    const { steps, explanation } = JSON.parse(await world.body(HOST, '/why?host=Aries.test:80'))
    assert.deepEqual(explanation, JSON.parse(JSON.stringify(await world.vhosts.why('Aries.test:80'))))
    assert.deepEqual(steps.slice(0, 5), [
      ['host', 'Aries.test:80'],
      ['hostname', 'aries.test'],
      ['patterns', '%0'],
      ['path', world.path('aries.test')],
      ['real path', world.path('aries.test')],
    ])
    const refused = JSON.parse(await world.body(HOST, '/why?host=a..b'))
    assert.deepEqual(refused.steps[1], ['hostname', 'refused: a label is empty'])
    assert.deepEqual(world.told, [])
  })

  describe('POST /reload', () => {
    it('loads anew with the token of the page, and does nothing without it', async () => {
      await using world = await withPage()
      world.site('aries.test', 'one')
      await world.get('aries.test')
      const token = await tokenOf(world)
      for (const [given, ...others] of [
        [undefined],
        [''],
        ['wrong'],
        [`${token}x`],
        [token, ['origin', 'http://evil.test']],
        [token, ['origin', 'null']],
        [token, ['sec-fetch-site', 'cross-site']],
        [token, ['sec-fetch-site', 'same-site']],
      ] as [string | undefined, ...[string, string][]][]) {
        const answer = await reload(world, 'aries.test', given, Object.fromEntries(others))
        assert.equal(answer.status, 403, `${given} ${others}`)
      }
      assert.deepEqual(world.events('reload'), [])
      const own = { origin: `http://${HOST}:${world.port}`, 'sec-fetch-site': 'same-origin' }
      for (const headers of [{}, own]) {
        const { status, body } = await reload(world, 'aries.test', token, headers)
        assert.deepEqual([status, JSON.parse(body)], [200, { realPath: world.path('aries.test') }])
      }
      assert.equal(world.events('reload').length, 2)
    })

    it('says why a reload failed', async () => {
      await using world = await withPage()
      world.write('bad.test/app/index.js', 'throw new Error("boom")')
      const token = await tokenOf(world)
      const nobody = await reload(world, 'nobody.test', token)
      assert.deepEqual([nobody.status, JSON.parse(nobody.body).message], [404, 'there is no vhost'])
      world.site('away.test', 'away')
      await world.get('away.test')
      renameSync(world.path(), `${world.path()}.away`)
      const away = await reload(world, 'away.test', token)
      renameSync(`${world.path()}.away`, world.path())
      assert.equal(away.status, 500)
      assert.match(
        JSON.parse(away.body).message,
        /^nothing was there to load; there is no folder at basePath, /,
      )
      const bad = await reload(world, 'bad.test', token)
      assert.equal(bad.status, 500)
      assert.deepEqual(JSON.parse(bad.body), {
        code: 'ERR_VHOST_LOAD',
        message: 'bad.test: The app cannot be loaded',
        cause: 'Error: boom',
      })
      assert.equal((await reload(world, 'a..b', token)).status, 400)
    })

    it('has a new token for each status page', async () => {
      await using one = await withPage()
      await using other = await withPage()
      assert.notEqual(await tokenOf(one), await tokenOf(other))
    })
  })

  describe('GET /events', () => {
    it('sends everything first, then what changes: a load, a flip, a refusal, its repair', async () => {
      await using world = await withPage({}, { updateInterval: 20 })
      const stream = await listen(world)
      const first = await stream.snapshot()
      assert.deepEqual([first.rows, first.deploys, first.totals.apps], [[], [], 0])
      world.site('releases/1', 'one')
      world.link('aries.test', world.path('releases/1'))
      await world.get('aries.test')
      await stream.until(({ rows }) => rows.some(({ state }) => state === 'serving'))
      world.site('releases/2', 'two')
      world.link('aries.test', world.path('releases/2'))
      await stream.until(({ rows }) => rows.some(({ realPath }) => realPath === world.path('releases/2')))
      world.write('releases/3/app/index.js', 'throw new Error("boom")')
      world.link('aries.test', world.path('releases/3'))
      const refused = await stream.until(({ rows }) => rows.some(({ state }) => state === 'serving older'))
      const [row] = refused.rows.filter(({ state }) => state === 'serving older')
      assert.equal(row?.lastError?.cause, 'Error: boom')
      assert.equal(row?.since, row?.lastError?.since)
      world.site('releases/3', 'three')
      await stream.until(({ rows }) =>
        rows.some(row => row.realPath === world.path('releases/3') && row.state === 'serving'),
      )
      assert.deepEqual(
        stream.deploys.filter(({ event }) => event !== 'evict').map(({ event }) => event),
        ['load', 'reload', 'error', 'reload'],
      )
      stream.end()
    })

    it('does not list the error of a serving app among the deploys', async () => {
      await using world = await withPage()
      const stream = await listen(world)
      world.write(
        'aries.test/app/index.js',
        `exports.handler = (req, res) => res.end('aries')
        exports.upgrade = () => { throw new Error('boom') }`,
      )
      const client = connect(world.port).on('error', () => {})
      client.write('GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      await eventually(() => world.events('error').length === 1)
      client.destroy()
      await world.vhosts.reload('aries.test')
      await stream.until(() => stream.deploys.some(({ event }) => event === 'reload'))
      assert.deepEqual(
        stream.deploys.map(({ event }) => event),
        ['load', 'reload'],
      )
      stream.end()
    })

    it('lists a folder that cannot be read as a refused deploy', async () => {
      let isFailing = false
      const getVersion = (): number => {
        if (isFailing) throw Object.assign(new Error('EACCES: no luck'), { code: 'EACCES' })
        return 1
      }
      await using world = await withPage({}, { getVersion, updateInterval: 50 })
      world.site('aries.test', 'aries')
      await world.get('aries.test')
      const stream = await listen(world)
      isFailing = true
      await stream.until(() => stream.deploys.some(({ event }) => event === 'error'))
      const { cause, serving } = stream.deploys.at(-1) ?? {}
      assert.deepEqual([cause, serving], ['Error: EACCES: no luck', world.path('aries.test')])
      stream.end()
    })

    it('sends only what has changed in a row, and nothing about other rows', async () => {
      await using world = await withPage({}, { getVersion: () => 1 })
      for (const name of ['aries.test', 'taurus.test']) {
        world.site(name, name)
        await world.get(name)
      }
      const stream = await listen(world)
      const ids = new Map((await stream.snapshot()).rows.map(row => [row.hostnames[0], row.id]))
      await world.get('aries.test')
      const { rows } = await stream.until(({ rows }) => rows.length > 0)
      const [{ rate, ...others } = { rate: 0 }] = rows
      assert.ok(rate > 0)
      assert.deepEqual([others, rows.length], [{ id: ids.get('aries.test'), requests: 2 }, 1])
      stream.end()
    })

    it('keeps refusals and replacements, however many loads come after', async () => {
      await using world = await withPage({}, { getVersion: () => 1, maxApps: 300 })
      world.write('bad.test/app/index.js', 'throw new Error("boom")')
      world.site('aries.test', 'one')
      for (const name of ['aries.test', 'bad.test']) await world.get(name)
      await world.vhosts.reload('aries.test')
      for (let i = 0; i < 250; i++) {
        world.site(`site-${i}.test`, 'one')
        await world.vhosts.load(`site-${i}.test`)
      }
      const { deploys } = JSON.parse(await world.body(HOST, '/status.json')) as BoardSnapshot
      assert.equal(deploys.length, 200)
      assert.deepEqual(
        deploys.slice(0, 3).map(({ event, hostnames }) => [event, ...hostnames]),
        [
          ['error', 'bad.test'],
          ['reload', 'aries.test'],
          ['load', 'site-52.test'],
        ],
      )
    })

    it('shows what was evicted until it is loaded again', async () => {
      await using world = await withPage({}, { idleTimeout: 20 })
      world.site('aries.test', 'one')
      const stream = await listen(world)
      await world.get('aries.test')
      const { rows } = await stream.until(({ rows }) => rows.some(({ state }) => state === 'evicted'))
      const evicted = rows.find(({ state }) => state === 'evicted')
      assert.deepEqual([evicted?.hostnames, evicted?.reason], [['aries.test'], 'idle'])
      world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.write("begun")')
      // An open request keeps the app in use until its change was sent: evicted before that, it would show as before.
      const open = http.get({ port: world.port, agent: false, headers: { host: 'aries.test' } })
      await once(open, 'response')
      await stream.until(({ gone }) => gone.includes(evicted?.id ?? ''))
      open.destroy()
      stream.end()
    })

    it('counts requests while somebody is watching', async () => {
      await using world = await withPage()
      world.site('aries.test', 'one')
      await world.get('aries.test')
      const stream = await listen(world)
      for (let i = 0; i < 20; i++) await world.get('aries.test')
      const { rows } = await stream.until(({ rows }) => rows.some(({ rate }) => rate > 0))
      const row = rows.find(({ rate }) => rate > 0)
      assert.equal(row?.requests, 21)
      // Earlier requests do not count: these are 20, in at least the interval between two samples.
      assert.ok((row?.rate ?? 0) <= 10, `${row?.rate}`)
      const other = await listen(world)
      const snapshot = await other.snapshot()
      assert.ok(snapshot.series['aries.test']?.some(rate => rate > 0))
      stream.end()
      other.end()
    })

    it('has no more than fifty viewers, and forgets those who left', async () => {
      await using world = await withPage()
      const streams = await Promise.all(Array.from({ length: 50 }, () => listen(world)))
      const refused = await world.get(HOST, '/events')
      assert.deepEqual([refused.status, refused.headers['retry-after']], [503, '10'])
      streams[0]?.end()
      await eventually(async () => {
        const again = await listen(world)
        again.end()
        return again.status === 200
      })
      for (const stream of streams) stream.end()
    })

    it('does not count a client who left before being authorized', async () => {
      const asked: ((verdict: boolean) => void)[] = []
      let gone = 0
      await using world = await withPage({
        authorize: req =>
          new Promise(resolve => {
            req.socket.once('close', () => gone++)
            asked.push(resolve)
          }),
      })
      const options = { port: world.port, path: '/events', agent: false, headers: { host: HOST } }
      const requests = Array.from({ length: 50 }, () => http.get(options).on('error', () => {}))
      await eventually(() => asked.length === 50)
      for (const request of requests) request.destroy()
      await eventually(() => gone === 50)
      for (const answer of asked) answer(true)
      const last = listen(world)
      await eventually(() => asked.length === 51)
      asked[50]?.(true)
      const { status, end } = await last
      assert.equal(status, 200)
      end()
    })

    it('does not count an HTTP/2 client who left before being authorized', async () => {
      await using vhosts = vhostRouter({ basePath: tmpdir() })
      const asked: ((verdict: boolean) => void)[] = []
      const authorize = (): Promise<boolean> => new Promise(resolve => void asked.push(resolve))
      const page = statusPage(vhosts, { host: HOST, authorize })
      let gone = 0
      const server = http2
        .createServer((req, res) => {
          req.stream.once('close', () => gone++)
          page(req as unknown as IncomingMessage, res as unknown as ServerResponse, assert.ifError)
        })
        .listen(0)
      const client = http2.connect(`http://localhost:${(server.address() as AddressInfo).port}`)
      const ask = (): http2.ClientHttp2Stream =>
        client.request({ ':path': '/events', ':authority': HOST }).on('error', () => {})
      const requests = Array.from({ length: 50 }, ask)
      await eventually(() => asked.length === 50)
      for (const request of requests) request.close(http2.constants.NGHTTP2_CANCEL)
      await eventually(() => gone === 50)
      for (const answer of asked) answer(true)
      const last = ask()
      await eventually(() => asked.length === 51)
      asked[50]?.(true)
      const [headers] = await once(last, 'response')
      assert.equal(headers[':status'], 200)
      client.destroy()
      server.close()
    })

    it('ends when the router is closed, so that the server can end', async () => {
      await using world = await withPage()
      const stream = await listen(world)
      await world.vhosts.close()
      await stream.closed
    })

    it('ends when the server listens no more, so that an open page does not hold it up', async () => {
      await using world = await withPage()
      const stream = await listen(world)
      const closed = new Promise(resolve => world.server.close(resolve))
      await stream.closed
      await closed
    })

    it('goes on if its server never listened itself, but is given its connections', async () => {
      await using world = await withPage()
      const front = createServer(socket => inner.emit('connection', socket)).listen(0, '127.0.0.1')
      const inner = http.createServer((req, res) => world.server.emit('request', req, res))
      await once(front, 'listening')
      const stream = await listen(front.address() as AddressInfo)
      let isOver = false
      void stream.closed.then(() => {
        isOver = true
      })
      for (let i = 0; i < 2; i++) await stream.until(({ samples }) => samples === 1)
      assert.equal(isOver, false)
      stream.end()
      front.close()
    })

    it('is not held back by a middleware that compresses', async () => {
      await using world = await World.start({}, (app, vhosts) => {
        app.use(compression())
        app.use(statusPage(vhosts, { host: HOST, authorize: () => true }))
        app.use(vhosts)
      })
      const stream = await listen(world, { 'accept-encoding': 'gzip, deflate, br' })
      await stream.snapshot()
      world.site('aries.test', 'aries')
      await world.get('aries.test')
      await stream.until(({ rows }) => rows.some(({ state }) => state === 'serving'))
      stream.end()
    })
  })
})

async function withPage(
  options: Partial<StatusPageOptions> = {},
  routerOptions: ConstructorParameters<typeof World>[0] = {},
): Promise<World> {
  return await World.start(routerOptions, (app, vhosts) => {
    app.use(statusPage(vhosts, { host: HOST, authorize: () => true, ...options }))
    app.use(vhosts)
  })
}

async function tokenOf(world: World): Promise<string> {
  return /name="status-token" content="([\w-]{43})"/.exec(await world.body(HOST))?.[1] as string
}

async function reload(
  world: World,
  host: string,
  token: string | undefined,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const options: RequestOptions = {
    method: 'POST',
    headers: { ...headers, ...(token !== undefined && { 'x-status-token': token }) },
  }
  return await world.get(HOST, `/reload?host=${encodeURIComponent(host)}`, options)
}

type Told = BoardSnapshot & BoardChange

async function listen({ port }: { port: number }, headers: http.OutgoingHttpHeaders = {}) {
  const request = http.get({ port, path: '/events', agent: false, headers: { ...headers, host: HOST } })
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  const told: { event: string; data: Told }[] = []
  let rest = ''
  response.setEncoding('utf8').on('data', (text: string) => {
    const messages = `${rest}${text}`.split('\n\n')
    rest = messages.pop() as string
    for (const message of messages) {
      const [, event = '', data = ''] = /^(?:id: \S+\n)?event: (\w+)\ndata: (.*)$/.exec(message) ?? []
      told.push({ event, data: JSON.parse(data) })
    }
  })
  let read = 0
  const closed = new Promise<void>(resolve => response.once('close', resolve))
  return {
    status: response.statusCode,
    closed,
    get deploys() {
      return told.flatMap(({ data }) => data.deploys)
    },
    /** The snapshot with which the stream began. */
    async snapshot(): Promise<BoardSnapshot> {
      await eventually(() => told.length > 0)
      assert.equal(told[0]?.event, 'snapshot')
      return told[0]?.data as BoardSnapshot
    },
    /** The first unread message that passes. */
    async until(passes: (data: Told) => boolean): Promise<Told> {
      let found: Told | undefined
      await eventually(() => {
        for (; read < told.length && !found; read++) {
          const { event, data } = told[read] as { event: string; data: Told }
          if (event === 'change' && passes(data)) found = data
        }
        return found !== undefined
      })
      return found as Told
    },
    end: () => request.destroy(),
  }
}
