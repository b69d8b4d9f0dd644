import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { eventually, World } from './support/world.ts'

interface Parsed {
  name: string
  help: string
  type: string
  metrics: { value: string; labels?: Record<string, string> }[]
}

const parse = createRequire(import.meta.url)('parse-prometheus-text-format') as (text: string) => Parsed[]

describe('metrics', () => {
  it('can be read by a parser of the format, each with its help and type', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    await world.body('aries.test')
    const parsed = parse(world.vhosts.metrics())
    assert.equal(parsed.length, 16)
    for (const { name, help, type } of parsed) {
      assert.match(name, /^express_van_[a-z_]+$/)
      assert.ok(help.length > 10, name)
      assert.equal(type, name.endsWith('_total') ? 'COUNTER' : 'GAUGE', name)
    }
  })

  it('count requests under the name for which an app was loaded, through reloads and evictions', async () => {
    await using world = await World.start()
    const source = `module.exports = (req, res, next) => req.url === '/' ? res.end('one') : next(new Error('boom'))`
    world.write('aries.test/app/index.js', source)
    world.link('www.aries.test', 'aries.test')
    await world.body('aries.test')
    await world.body('www.aries.test')
    await world.get('aries.test', '/fails')
    const counts = (): unknown[] =>
      ['requests_total', 'request_errors_total'].map(name => metric(world, name, { hostname: 'aries.test' }))
    assert.deepEqual(counts(), [3, 1])
    await world.vhosts.reload('www.aries.test')
    await world.body('www.aries.test')
    assert.deepEqual(counts(), [4, 1])
    world.remove('aries.test')
    world.remove('www.aries.test')
    await eventually(() => world.vhosts.stats().vhosts.length === 0)
    assert.deepEqual(counts(), [4, 1])
    assert.equal(metric(world, 'requests_total', { hostname: 'www.aries.test' }), undefined)
    assert.deepEqual(
      ['loads_total', 'reloads_total'].map(name => metric(world, name)),
      [1, 1],
    )
    assert.equal(metric(world, 'evictions_total', { reason: 'reloaded' }), 1)
    assert.equal(metric(world, 'evictions_total', { reason: 'deleted' }), 1)
  })

  it('count requests that are cut, but not WebSockets', async () => {
    await using world = await World.start({ drainTimeout: 20 })
    world.write(
      'aries.test/app/index.js',
      `exports.handler = (req, res) => res.write('begun')
      exports.upgrade = (req, socket) => socket.write('HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n')`,
    )
    const cut = world.get('aries.test').then(
      () => 'whole',
      () => 'cut',
    )
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
    const client = connect(world.port).on('error', () => {})
    client.write('GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    await eventually(() => world.vhosts.stats().totals.inFlight === 2)
    const evicted = world.event('evict')
    await world.vhosts.reload('aries.test')
    assert.equal(await cut, 'cut')
    assert.equal((await evicted).cut, 1)
    assert.equal(metric(world, 'cut_requests_total', { hostname: 'aries.test' }), 1)
    client.destroy()
  })

  it('make no series for names that strangers ask for', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    world.write('taurus.test/static/index.html', '')
    world.write('virgo.test/app/index.js', 'throw new Error("boom")')
    for (const host of ['aries.test', 'a..b', 'taurus.test', 'virgo.test', 'first.test'])
      await world.get(host)
    const before = world.vhosts.metrics()
    for (let n = 0; n < 50; n++) await world.get(`nobody${n}.test`)
    const seriesOf = (text: string): string[] => text.split('\n').map(line => line.replace(/ \S+$/, ''))
    assert.deepEqual(seriesOf(world.vhosts.metrics()), seriesOf(before))
    assert.deepEqual(
      ['refused', 'no_vhost', 'no_app', 'failed'].map(reason =>
        metric(world, 'unrouted_requests_total', { reason }),
      ),
      [1, 51, 1, 1],
    )
  })

  it('count upgrades for which there was no app', async () => {
    await using world = await World.start()
    world.write('taurus.test/static/index.html', '')
    world.write('virgo.test/app/index.js', 'throw new Error("boom")')
    for (const host of ['a..b', 'nobody.test', 'taurus.test', 'virgo.test'])
      await world.raw(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    for (const reason of ['refused', 'no_vhost', 'no_app', 'failed'])
      assert.equal(metric(world, 'unrouted_requests_total', { reason }), 1, reason)
  })

  it('count upgrades to an app that takes none, whether it is already loaded or not', async () => {
    for (const isolation of ['none', 'thread'] as const) {
      await using world = await World.start({ isolation })
      world.site('aries.test', 'aries')
      for (const count of [1, 2]) {
        const answer = await world.raw(
          'GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
        )
        assert.match(answer, /^HTTP\/1.1 404 /)
        assert.equal(metric(world, 'unrouted_requests_total', { reason: 'no_app' }), count, isolation)
        assert.equal(metric(world, 'requests_total', { hostname: 'aries.test' }), 0)
      }
    }
  })

  it('say which release was refused, and why', async () => {
    await using world = await World.start()
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.body(name)
    }
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    world.write('virgo.test/app/index.js', 'throw new Error("boom")')
    await world.get('virgo.test')
    await eventually(() => metric(world, 'release_refused', { hostname: 'aries.test' }) === 1)
    assert.equal(metric(world, 'release_refused', { hostname: 'taurus.test' }), 0)
    assert.equal(metric(world, 'release_refused', { hostname: 'virgo.test' }), 1)
    assert.equal(metric(world, 'errors_total', { code: 'ERR_VHOST_LOAD' }), 2)
    assert.deepEqual(
      ['serving', 'draining', 'failed'].map(state => metric(world, 'apps', { state })),
      [2, 0, 1],
    )
    world.site('aries.test', 'mended')
    await eventually(() => metric(world, 'release_refused', { hostname: 'aries.test' }) === 0)
  })

  it('count errors by the codes of the router only', async () => {
    await using world = await World.start()
    for (const end of ['first', 'second', 'third']) {
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => res.end('${end}')
        module.exports.close = () => { throw Object.assign(new Error('boom'), { code: 'ERR_VHOST_${end}' }) }`,
      )
      await eventually(async () => assert.equal(await world.body('aries.test'), end))
    }
    await eventually(() => world.events('error').length === 2)
    const series = world.vhosts
      .metrics()
      .split('\n')
      .filter(line => line.startsWith('express_van_errors_total{'))
    assert.deepEqual(series, ['express_van_errors_total{code="other"} 2'])
  })

  it('give memory and processor time of apps in a thread or process of their own', async () => {
    await using world = await World.start({
      isolation: ({ realPath }) => (realPath.endsWith('aries.test') ? 'process' : 'none'),
    })
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.body(name)
    }
    const memory = metric(world, 'memory_bytes', { hostname: 'aries.test' }) ?? 0
    assert.ok(memory > 2 ** 20 && memory < 2 ** 30, `${memory} bytes`)
    const cpu = metric(world, 'cpu_seconds_total', { hostname: 'aries.test' }) ?? 0
    assert.ok(cpu > 0 && cpu < 60, `${cpu} s`)
    assert.equal(metric(world, 'memory_bytes', { hostname: 'taurus.test' }), undefined)
    assert.equal(metric(world, 'cpu_seconds_total', { hostname: 'taurus.test' }), undefined)
  })

  it('give the memory of all apps that share a name', async () => {
    // A thread's figures stay as they are until it reports new ones.
    await using world = await World.start({ isolation: 'thread' })
    for (const release of ['1', '2']) world.site(`releases/${release}`, release)
    for (const name of ['aries.test', 'taurus.test']) world.link(name, world.path('releases/1'))
    await world.body('aries.test')
    await world.body('taurus.test')
    world.link('aries.test', world.path('releases/2'))
    await eventually(async () => assert.equal(await world.body('aries.test'), '2'))
    const memory = world.vhosts.stats().vhosts.map(app => app.memory ?? 0)
    assert.equal(memory.length, 2)
    assert.equal(
      metric(world, 'memory_bytes', { hostname: 'aries.test' }),
      memory.reduce((sum, one) => sum + one),
    )
  })

  it('count what is in flight, under names that may contain anything', async () => {
    const hostname = `a_${'b'.repeat(60)}.xn--p1ai`
    await using world = await World.start()
    world.write(`${hostname}/app/index.js`, 'module.exports = (req, res) => { res.write("begun") }')
    const request = world.get(hostname).catch(() => 'cut')
    await eventually(() => metric(world, 'requests_in_flight', { hostname }) === 1)
    world.server.closeAllConnections()
    assert.equal(await request, 'cut')
    await eventually(() => metric(world, 'requests_in_flight', { hostname }) === 0)
    assert.ok(Number(metric(world, 'load_duration_seconds', { hostname })) > 0)
  })
})

function metric(world: World, name: string, labels: Record<string, string> = {}): number | undefined {
  const found = parse(world.vhosts.metrics()).find(parsed => parsed.name === `express_van_${name}`)
  assert.ok(found, name)
  const sample = found.metrics.find(({ labels: its = {} }) =>
    Object.entries(labels).every(([label, value]) => its[label] === value),
  )
  return sample && Number(sample.value)
}
