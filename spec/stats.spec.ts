import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import type { AppStats } from '../lib/index.ts'
import { eventually, World } from './support/world.ts'

const NO_UPSTREAM = { pid: null, threadId: null, memory: null, cpu: null, restarts: 0, lastExit: null }

describe('stats', () => {
  it('are empty before any request, and know nothing of names that lead nowhere', async () => {
    await using world = await World.start()
    const empty = {
      vhosts: [],
      totals: { apps: 0, draining: 0, failed: 0, hostnames: 0, requests: 0, inFlight: 0, errors: 0 },
      staleGraphs: 0,
      isClosed: false,
    }
    assert.deepEqual(world.vhosts.stats(), empty)
    for (const host of ['nobody.test', 'a..b']) await world.get(host)
    assert.deepEqual(world.vhosts.stats(), empty)
  })

  it('say when the router is closed', async () => {
    await using world = await World.start()
    await world.vhosts.close()
    assert.equal(world.vhosts.stats().isClosed, true)
  })

  it('count no names once the router is closed', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    await world.vhosts.load('aries.test')
    await world.vhosts.close()
    const { hostnames, apps, draining } = world.vhosts.stats().totals
    assert.deepEqual({ hostnames, apps, draining }, { hostnames: 0, apps: 0, draining: 0 })
    assert.match(world.vhosts.metrics(), /^express_van_hostnames 0$/m)
  })

  it('describe what serves', async () => {
    await using world = await World.start({ getVersion: () => 7 })
    world.write(
      'releases/1/app/index.js',
      `module.exports = (req, res, next) => req.url === '/' ? res.end('one') : next(new Error('boom'))`,
    )
    for (const name of ['aries.test', 'www.aries.test']) {
      world.link(name, world.path('releases/1'))
      await world.get(name)
    }
    await world.get('aries.test', '/fails')
    const [aries, ...more] = world.vhosts.stats().vhosts
    assert.deepEqual(more, [])
    const { loadDurationMs, loadedAt, ...rest } = aries as AppStats
    assert.ok(Number(loadDurationMs) > 0)
    assert.equal(new Date(String(loadedAt)).toISOString(), loadedAt)
    assert.deepEqual(rest, {
      hostnames: ['aries.test', 'www.aries.test'],
      realPath: world.path('releases/1'),
      version: 7,
      isolation: 'none',
      ...NO_UPSTREAM,
      state: 'serving',
      requests: 3,
      inFlight: 0,
      errors: 1,
      lastError: null,
    })
    const { totals } = world.vhosts.stats()
    assert.equal(totals.apps, 1)
    assert.equal(totals.hostnames, 2)
    assert.equal(totals.requests, 3)
    assert.equal(totals.errors, 1)
  })

  it('describe a first load in progress', async () => {
    await using world = await World.start({ getVersion: () => 7 })
    world.write('aries.test/app/index.js', waits('aries'))
    const answer = world.body('aries.test')
    await said('loading:aries')
    const [row, ...more] = world.vhosts.stats().vhosts
    go('aries')
    assert.equal(await answer, 'aries')
    assert.equal(world.vhosts.stats().vhosts.length, 1)
    assert.deepEqual(more, [])
    assert.deepEqual(row, {
      hostnames: ['aries.test'],
      realPath: world.path('aries.test'),
      version: null,
      isolation: 'none',
      ...NO_UPSTREAM,
      state: 'loading',
      requests: 0,
      inFlight: 0,
      errors: 0,
      loadDurationMs: null,
      loadedAt: null,
      lastError: null,
    })
    assert.equal(world.vhosts.stats().vhosts[0]?.state, 'serving')
  })

  it('describe what serves while a newer release loads beside it', async () => {
    await using world = await World.start()
    world.site('aries.test', 'one')
    await world.get('aries.test')
    world.write('aries.test/app/index.js', waits('aries'))
    const reloaded = world.vhosts.reload('aries.test')
    await said('loading:aries')
    assert.deepEqual(
      world.vhosts.stats().vhosts.map(({ state }) => state),
      ['serving'],
    )
    go('aries')
    await reloaded
  })

  it('describe what drains, and count its requests in flight', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.write("begun")')
    const socket = await begin(world, 'aries.test')
    assert.equal(world.vhosts.stats().vhosts[0]?.inFlight, 1)
    world.site('aries.test', 'two')
    await world.vhosts.reload('aries.test')
    const { vhosts, totals } = world.vhosts.stats()
    assert.deepEqual(
      vhosts.map(({ state, hostnames, inFlight, requests }) => ({ state, hostnames, inFlight, requests })),
      [
        { state: 'serving', hostnames: ['aries.test'], inFlight: 0, requests: 0 },
        { state: 'draining', hostnames: [], inFlight: 1, requests: 1 },
      ],
    )
    assert.equal(totals.draining, 1)
    assert.equal(totals.inFlight, 1)
    const evicted = world.event('evict')
    socket.destroy()
    await evicted
    assert.equal(world.vhosts.stats().totals.draining, 0)
  })

  it('describe what failed with nothing to serve, and which version was refused', async () => {
    await using world = await World.start({ getVersion: () => 'v1' })
    world.write('aries.test/app/index.js', 'throw new TypeError("boom")')
    const before = Date.now()
    await world.get('aries.test')
    const { vhosts } = world.vhosts.stats()
    const lastError = vhosts[0]?.lastError
    assert.match(String(lastError?.stack), /^TypeError: boom\n +at .*index\.js:1:/m)
    const since = Date.parse(String(lastError?.since))
    assert.ok(since >= before && since <= Date.now())
    assert.deepEqual(vhosts, [
      {
        hostnames: ['aries.test'],
        realPath: world.path('aries.test'),
        version: null,
        isolation: 'none',
        ...NO_UPSTREAM,
        state: 'failed',
        requests: 0,
        inFlight: 0,
        errors: 0,
        loadDurationMs: null,
        loadedAt: null,
        lastError: {
          code: 'ERR_VHOST_LOAD',
          message: 'The app cannot be loaded',
          cause: 'TypeError: boom',
          stack: lastError?.stack ?? null,
          since: lastError?.since ?? null,
          version: 'v1',
          realPath: world.path('aries.test'),
        },
      },
    ])
    assert.equal(world.vhosts.stats().totals.failed, 1)
    assert.equal(world.vhosts.stats().totals.apps, 0)
  })

  it('say what serves in place of a release that failed, after a change or a move', async () => {
    let version = 1
    await using world = await World.start({ getVersion: () => version, updateInterval: 10 })
    world.site('releases/1', 'one')
    world.write('releases/2/app/index.js', 'throw new Error("boom")')
    world.link('aries.test', world.path('releases/1'))
    await world.get('aries.test')
    for (const change of [
      () => {
        world.write('releases/1/app/index.js', 'throw new Error("boom")')
        version = 2
      },
      () => world.link('aries.test', world.path('releases/2')),
    ]) {
      const failed = world.event('error')
      change()
      const { realPath } = await failed
      const { vhosts, totals } = world.vhosts.stats()
      assert.deepEqual(
        vhosts.map(row => [row.state, row.version, row.lastError?.version, row.lastError?.code]),
        [['serving older', 1, 2, 'ERR_VHOST_LOAD']],
      )
      assert.ok([world.path('releases/1'), world.path('releases/2')].includes(realPath))
      assert.equal(totals.apps, 1)
      assert.equal(totals.failed, 0)
      assert.equal(await world.body('aries.test'), 'one')
    }
  })

  it('say what still serves although its folder cannot be read, until it can', async () => {
    let isFailing = false
    await using world = await World.start({
      updateInterval: 50,
      getVersion: () => {
        if (isFailing) throw Object.assign(new Error('EIO: no luck'), { code: 'EIO' })
        return 1
      },
    })
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    isFailing = true
    await eventually(() => world.vhosts.stats().vhosts[0]?.state === 'serving older')
    const { lastError } = world.vhosts.stats().vhosts[0] as AppStats
    assert.equal(lastError?.cause, 'Error: EIO: no luck')
    assert.ok(Date.parse(lastError.since ?? '') <= Date.now())
    assert.deepEqual([lastError.version, lastError.realPath], [null, null])
    assert.match(world.vhosts.metrics(), /^express_van_release_refused\{hostname="aries.test"\} 1$/m)
    isFailing = false
    await eventually(() => world.vhosts.stats().vhosts[0]?.state === 'serving')
    assert.match(world.vhosts.metrics(), /^express_van_release_refused\{hostname="aries.test"\} 0$/m)
  })

  it('say that all is well when a name is moved back from a release that failed', async () => {
    await using world = await World.start({ getVersion: () => 1, updateInterval: 10 })
    world.site('releases/1', 'one')
    world.write('releases/2/app/index.js', 'throw new Error("boom")')
    world.link('aries.test', world.path('releases/1'))
    await world.get('aries.test')
    world.link('aries.test', world.path('releases/2'))
    await eventually(() => world.vhosts.stats().vhosts[0]?.state === 'serving older')
    world.link('aries.test', world.path('releases/1'))
    await eventually(() => world.vhosts.stats().vhosts[0]?.state === 'serving')
    assert.equal(world.vhosts.stats().vhosts.length, 1)
    assert.equal(world.vhosts.stats().vhosts[0]?.lastError, null)
  })

  it('count the graphs of ES modules that Node keeps', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.mjs', 'export default (req, res) => res.end("aries")')
    await world.get('aries.test')
    for (let count = 1; count <= 2; count++) {
      await world.vhosts.reload('aries.test')
      await eventually(() => world.vhosts.stats().staleGraphs === count)
    }
  })

  it('forget what was deleted', async () => {
    await using world = await World.start({ updateInterval: 10 })
    world.site('aries.test', 'aries')
    world.write('taurus.test/app/index.js', 'throw new Error("boom")')
    for (const name of ['aries.test', 'taurus.test']) {
      await world.get(name)
      world.remove(name)
    }
    await eventually(() => world.vhosts.stats().vhosts.length === 0)
    assert.equal(world.vhosts.stats().totals.hostnames, 0)
    assert.equal(world.vhosts.stats().totals.failed, 0)
  })

  for (const [title, version, plain] of [
    ['a text', 'v1', 'v1'],
    ['a number', 1.5, 1.5],
    ['no number', Number.NaN, 'NaN'],
    ['a truth value', false, false],
    ['a bigint', 2n ** 64n, '18446744073709551616n'],
    ['a symbol', Symbol('v1'), 'Symbol(v1)'],
    ['an object', { commit: 'c0ffee' }, "{ commit: 'c0ffee' }"],
    ['an object without a prototype', Object.create(null), '[Object: null prototype] {}'],
    ['null', null, null],
    ['an object that hides', { toJSON: () => assert.fail(), toString: () => assert.fail() }, /toJSON/],
  ] satisfies [string, unknown, unknown][]) {
    it(`give as plain JSON a version that is ${title}`, async () => {
      await using world = await World.start({ getVersion: () => version })
      world.site('aries.test', 'aries')
      world.write('taurus.test/app/index.js', 'throw new Error("boom")')
      await world.get('aries.test')
      await world.get('taurus.test')
      const stats = world.vhosts.stats()
      assert.deepEqual(JSON.parse(JSON.stringify(stats)), stats)
      const why = await world.vhosts.why('aries.test')
      assert.deepEqual(JSON.parse(JSON.stringify(why)), why)
      for (const said of [
        why.version,
        stats.vhosts[0]?.version,
        stats.vhosts[1]?.lastError?.version,
      ] as unknown[]) {
        if (plain instanceof RegExp) assert.match(String(said), plain)
        else assert.equal(said, plain)
      }
    })
  }

  for (const [title, thrown, cause] of [
    ['nothing', 'undefined', null],
    ['a text', '"boom"', 'boom'],
    ['a symbol', 'Symbol("boom")', 'Symbol(boom)'],
    ['an object without a prototype', 'Object.create(null)', '[Object: null prototype] {}'],
  ] as const) {
    it(`give the cause if an app throws ${title}`, async () => {
      await using world = await World.start()
      world.write('aries.test/app/index.js', `throw ${thrown}`)
      await world.get('aries.test')
      assert.equal(world.vhosts.stats().vhosts[0]?.lastError?.cause, cause)
      assert.equal((await world.vhosts.why('aries.test')).error?.cause, cause)
    })
  }
})

function waits(name: string): string {
  return `module.exports = new Promise(resolve => {
    process.once('go:${name}', () => resolve((req, res) => res.end('${name}')))
    process.emit('loading:${name}')
  })`
}

async function said(event: string): Promise<void> {
  await new Promise(resolve => process.once(event, resolve))
}

function go(name: string): void {
  process.emit(`go:${name}` as never)
}

/** A request whose answer has begun. */
async function begin(world: World, host: string): Promise<Socket> {
  const socket = connect(world.port)
  socket.on('error', () => {})
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  await new Promise(resolve => socket.once('data', resolve))
  return socket
}
