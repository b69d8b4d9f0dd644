import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { App } from '../lib/app.ts'
import { AppCache } from '../lib/app-cache.ts'
import { Events } from '../lib/events.ts'
import type { VhostError } from '../lib/index.ts'
import type { Launched } from '../lib/launch/launch.ts'
import { resolveOptions } from '../lib/options.ts'
import { eventually, type Handler, World } from './support/world.ts'

function hanging(world: World, host: string): void {
  world.write(
    `${host}/app/index.js`,
    `module.exports = (req, res) => { if (req.url !== '/hang') res.end('${host}') }`,
  )
}

function loaded(world: World): string[] {
  return world.vhosts
    .stats()
    .vhosts.filter(({ state }) => state === 'serving')
    .flatMap(({ hostnames }) => hostnames)
    .sort()
}

/** A site under three names that needs a file below its app folder, and waits before its load succeeds or fails. */
function gated(world: World): { gate: { resolve(): void }; site: { loads: number } } {
  const gate = { resolve: (): void => {} }
  const opened = new Promise<void>(resolve => {
    gate.resolve = resolve
  })
  const site = { loads: 0, opened }
  Object.assign(globalThis, { gatedSite: site })
  world.write('aries.test/app/lib/other.js', '')
  world.write(
    'aries.test/app/index.js',
    `const site = globalThis.gatedSite
     site.loads++
     let load = () => handler, handler
     try { handler = require('./lib/handler') } catch (error) { load = () => { throw error } }
     module.exports = site.opened.then(load)`,
  )
  for (const name of ['taurus.test', 'virgo.test']) world.link(name, 'aries.test')
  return { gate, site }
}

describe('AppCache', () => {
  it('keeps at most maxApps, and evicts the one that has gone longest without a request', async () => {
    await using world = await World.start({ maxApps: 2 })
    for (const name of ['aries', 'taurus', 'virgo']) world.site(`${name}.test`, name)
    await world.body('aries.test')
    await world.body('taurus.test')
    await world.body('aries.test')
    const evicted = world.event('evict')
    assert.equal(await world.body('virgo.test'), 'virgo')
    const { reason, hostnames } = await evicted
    assert.deepEqual([reason, hostnames], ['lru', ['taurus.test']])
    assert.deepEqual(loaded(world), ['aries.test', 'virgo.test'])
    assert.equal(await world.body('taurus.test'), 'taurus')
  })

  it('always serves somebody who opens three sites in a row when there is room for two', async () => {
    await using world = await World.start({ maxApps: 2 })
    const names = ['aries', 'taurus', 'virgo']
    for (const name of names) world.site(`${name}.test`, name)
    for (let round = 0; round < 10; round++) {
      for (const name of names) assert.equal(await world.body(`${name}.test`), name)
    }
    await Promise.all(names.map(async name => assert.equal(await world.body(`${name}.test`), name)))
  })

  it('never evicts an app that is busy: the newcomer gets 503 and may come again', async () => {
    await using world = await World.start({ maxApps: 1, drainTimeout: 0 })
    hanging(world, 'aries.test')
    world.site('taurus.test', 'taurus')
    await world.body('aries.test')
    const client = new AbortController()
    const busy = world.get('aries.test', '/hang', { signal: client.signal }).catch(() => {})
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
    const { status, headers } = await world.get('taurus.test')
    assert.deepEqual([status, headers['retry-after']], [503, '1'])
    assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_OVERLOADED')
    assert.deepEqual(world.events('error'), [])
    client.abort()
    await busy
    await eventually(async () => (await world.body('taurus.test')) === 'taurus')
  })

  it('keeps at most maxApps when names that shared a release move apart', async () => {
    await using world = await World.start({ maxApps: 2, updateInterval: 50 })
    for (const n of [0, 1, 2]) world.site(`releases/${n}`, `release ${n}`)
    const names = ['aries.test', 'taurus.test', 'virgo.test']
    for (const name of names) {
      world.link(name, 'releases/0')
      assert.equal(await world.body(name), 'release 0')
    }
    for (const [n, name] of names.slice(1).entries()) {
      world.link(name, `releases/${n + 1}`)
      await eventually(async () => (await world.body(name)) === `release ${n + 1}`)
      assert.ok(world.vhosts.stats().totals.apps <= 2)
    }
    assert.deepEqual(loaded(world), ['aries.test', 'virgo.test'])
  })

  it('leaves a name where it is while others share its app and every app is busy', async () => {
    await using world = await World.start({ maxApps: 1, updateInterval: 10 })
    hanging(world, 'releases/0')
    world.write(
      'releases/1/app/index.js',
      `globalThis.evaluated++; module.exports = (req, res) => res.end('new')`,
    )
    const globals = Object.assign(globalThis, { evaluated: 0 })
    for (const name of ['aries.test', 'taurus.test']) {
      world.link(name, 'releases/0')
      await world.body(name)
    }
    const client = new AbortController()
    const busy = world.get('aries.test', '/hang', { signal: client.signal }).catch(() => {})
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
    world.link('taurus.test', 'releases/1')
    await assert.rejects(world.vhosts.reload('taurus.test'), { code: 'ERR_VHOST_OVERLOADED' })
    assert.equal(await world.body('taurus.test'), 'releases/0')
    assert.equal(globals.evaluated, 0)
    client.abort()
    await busy
    await eventually(async () => (await world.body('taurus.test')) === 'new')
  })

  it('evicts nobody for a reload() that waits for another one, and tells what serves if it fails', async () => {
    await using world = await World.start({ maxApps: 1 })
    const handler: Handler = (_, res) => res.end('aries')
    const loads: (() => unknown)[] = [() => handler]
    Object.assign(globalThis, { loadsOfAries: loads })
    world.write('aries.test/app/index.js', 'module.exports = globalThis.loadsOfAries.shift()()')
    assert.equal(await world.body('aries.test'), 'aries')
    const fail = (): void => {
      throw new Error('refused')
    }
    for (const next of [() => handler, fail]) {
      let finish = (_: Handler): void => {}
      const loading = new Promise(resolve => {
        finish = resolve
      })
      loads.push(() => loading, next)
      const first = world.vhosts.reload('aries.test')
      await eventually(() => loads.length === 1)
      const second = world.vhosts.reload('aries.test').catch(() => undefined)
      // Takes more looks at the disk than reload() does before it waits.
      await world.vhosts.why('aries.test')
      finish(handler)
      await Promise.all([first, second])
    }
    await eventually(() => assert.equal(world.events('evict').length, 3))
    for (const { reason } of world.events('evict')) assert.equal(reason, 'reloaded')
    const serving = world.events('error').map(error => error.serving?.realPath)
    assert.deepEqual(serving, [world.path('aries.test')])
  })

  it('evicts nobody for a changed release whose vhost is deleted while it loads', async () => {
    await using world = await World.start({ maxApps: 2 })
    for (const name of ['aries', 'leo', 'libra']) world.site(`${name}.test`, name)
    await world.body('aries.test')
    await world.body('leo.test')
    let finish = (): void => {}
    const ready = new Promise<void>(resolve => {
      finish = resolve
    })
    const next = Object.assign(globalThis, { nextAries: { isLoading: false, ready } }).nextAries
    world.write(
      'aries.test/app/index.js',
      `const next = globalThis.nextAries
       next.isLoading = true
       module.exports = next.ready.then(() => (req, res) => res.end('next'))`,
    )
    await eventually(() => next.isLoading)
    world.remove('aries.test')
    await eventually(() => world.events('evict').some(({ reason }) => reason === 'deleted'))
    await world.body('libra.test')
    finish()
    await eventually(() => assert.equal(world.events('evict').length, 2))
    assert.equal(world.events('evict')[1]?.reason, 'changed')
    assert.deepEqual(world.events('reload'), [])
    assert.deepEqual(loaded(world), ['leo.test', 'libra.test'])
  })

  it('evicts nobody for a release that nobody waits for, if the app that it was to replace was evicted', async () => {
    await using world = await World.start({ maxApps: 1 })
    let finish = (): void => {}
    const ready = new Promise<void>(resolve => {
      finish = resolve
    })
    const second = Object.assign(globalThis, { second: { loads: 0, ready } }).second
    world.site('releases/1', 'one')
    world.site('taurus.test', 'taurus')
    world.write(
      'releases/2/app/index.js',
      `const { second } = globalThis
       second.loads++
       module.exports = second.ready.then(() => (req, res) => res.end('two'))`,
    )
    world.link('aries.test', 'releases/1')
    assert.equal(await world.body('aries.test'), 'one')
    world.link('aries.test', 'releases/2')
    await eventually(() => second.loads === 1)
    assert.equal(await world.body('taurus.test'), 'taurus')
    finish()
    await eventually(() => world.events('evict').some(({ realPath }) => realPath.endsWith('2')))
    assert.deepEqual(loaded(world), ['taurus.test'])

    world.link('aries.test', 'releases/1')
    assert.equal(await world.body('aries.test'), 'one')
    Object.assign(second, {
      ready: new Promise<void>(resolve => {
        finish = resolve
      }),
    })
    world.link('aries.test', 'releases/2')
    const reloaded = world.vhosts.reload('aries.test')
    await eventually(() => second.loads === 2)
    assert.equal(await world.body('taurus.test'), 'taurus')
    finish()
    assert.equal((await reloaded)?.realPath, world.path('releases/2'), 'reload() waits')
    assert.deepEqual(loaded(world), ['aries.test'])
  })

  it('evicts what has been idle for idleTimeout, but not what is busy', async () => {
    await using world = await World.start({ idleTimeout: 100 })
    hanging(world, 'aries.test')
    hanging(world, 'taurus.test')
    const client = new AbortController()
    const isLoaded = world.event('load')
    const busy = world.get('aries.test', '/hang', { signal: client.signal }).catch(() => {})
    await isLoaded
    const idle = world.event('evict')
    await world.body('taurus.test')
    const { reason, hostnames } = await idle
    assert.deepEqual([reason, hostnames], ['idle', ['taurus.test']])
    assert.deepEqual(loaded(world), ['aries.test'])
    const evicted = world.event('evict')
    client.abort()
    await busy
    assert.deepEqual((await evicted).hostnames, ['aries.test'])
    assert.equal(await world.body('aries.test'), 'aries.test')
  })

  it('loads maxConcurrentLoads at a time, lets 100 wait and refuses the rest', async () => {
    await using world = await World.start({ maxConcurrentLoads: 2, maxApps: 200 })
    const hosts = Array.from({ length: 130 }, (_, index) => `site-${index}.test`)
    for (const host of hosts) {
      world.write(
        `${host}/app/index.mjs`,
        `const loads = globalThis.loadsAtATime ??= { now: 0, most: 0 }
         loads.most = Math.max(loads.most, ++loads.now)
         await globalThis.gateOfLoads
         loads.now--
         export default (req, res) => res.end('${host}')`,
      )
    }
    let open = (): void => {}
    Object.assign(globalThis, {
      gateOfLoads: new Promise<void>(resolve => {
        open = resolve
      }),
    })
    let refused = 0
    const answers = await Promise.all(
      hosts.map(async host => {
        const { status, headers } = await world.get(host)
        if (status !== 503) return status
        assert.equal(headers['retry-after'], '1')
        if (++refused === 28) open()
        return status
      }),
    )
    assert.equal(answers.filter(status => status === 200).length, 102)
    assert.equal(refused, 28)
    assert.equal((globalThis as unknown as { loadsAtATime: { most: number } }).loadsAtATime.most, 2)
    assert.equal(world.events('load').length, 102)
  })

  it('answers or refuses each of 500 cold vhosts, and loads none twice', async () => {
    await using world = await World.start({ maxApps: 50 })
    const hosts = Array.from({ length: 500 }, (_, index) => `site-${index}.test`)
    for (const host of hosts) world.site(host, host)
    const answers = await Promise.all(hosts.map(async host => ({ host, ...(await world.get(host)) })))
    for (const { host, status, body, headers } of answers) {
      if (status === 503) assert.equal(headers['retry-after'], '1')
      else assert.deepEqual([status, body], [200, host])
    }
    const names = world.events('load').flatMap(({ hostnames }) => hostnames)
    assert.equal(new Set(names).size, names.length)
    assert.ok(world.vhosts.stats().totals.apps <= 50)
  })

  it('moves only the re-pointed name, and retires an app when no name leads to it any more', async () => {
    await using world = await World.start()
    world.site('../releases/1', 'one')
    world.site('../releases/2', 'two')
    world.link('aries.test', '../releases/1')
    world.link('taurus.test', '../releases/1')
    assert.deepEqual([await world.body('aries.test'), await world.body('taurus.test')], ['one', 'one'])
    world.link('aries.test', '../releases/2')
    await eventually(async () => (await world.body('aries.test')) === 'two')
    assert.equal(await world.body('taurus.test'), 'one')
    assert.deepEqual(world.events('evict'), [])
    const evicted = world.event('evict')
    world.link('taurus.test', '../releases/2')
    const { reason, hostnames } = await evicted
    assert.deepEqual([reason, hostnames], ['moved', ['taurus.test']])
    assert.equal(await world.body('taurus.test'), 'two')
    assert.equal(world.events('load').length, 1)
    assert.deepEqual(
      world.events('reload').map(({ previous }) => previous.realPath),
      [world.path('../releases/1'), world.path('../releases/1')],
    )
  })

  it('reports more than five reloads of one release within a minute, once', async () => {
    await using world = await World.start()
    world.site('aries.test', '0')
    await world.body('aries.test')
    for (let reload = 1; reload <= 8; reload++) {
      world.site('aries.test', String(reload))
      await eventually(async () => (await world.body('aries.test')) === String(reload))
    }
    const errors = world.events('error')
    assert.equal(errors.length, 1)
    assert.match(errors[0]?.error.message ?? '', /more than 5 reloads within a minute/)
  })

  it('slows down reloads of an app that writes into its own folder at each load, but goes on following it', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `const { writeFileSync } = require('node:fs')
       writeFileSync(__dirname + '/cache-' + process.hrtime.bigint(), '')
       module.exports = (req, res) => res.end('aries')`,
    )
    const times: number[] = []
    world.vhosts.on('reload', () => times.push(performance.now()))
    await world.body('aries.test')
    // Each reload follows the one before within milliseconds, until the next has to wait for a second.
    await eventually(() => performance.now() - (times.at(-1) ?? performance.now()) > 900, 60_000)
    const slowed = times.length
    assert.ok(slowed >= 60, `${slowed}`)
    await eventually(() => times.length > slowed)
  })

  it('retries a failed release while requests come, ever more rarely, and reports it once', async () => {
    await using world = await World.start({ updateInterval: 40 })
    world.write(
      'aries.test/app/index.js',
      'globalThis.triesOfAries = (globalThis.triesOfAries ?? 0) + 1; throw new Error("no")',
    )
    const end = performance.now() + 700
    let requests = 0
    while (performance.now() < end) {
      assert.equal((await world.get('aries.test')).status, 500)
      requests++
    }
    const { triesOfAries } = globalThis as unknown as { triesOfAries: number }
    // Attempts at 0, 40, 120, 280 and 600 ms.
    assert.ok(triesOfAries >= 3 && triesOfAries <= 6, `${triesOfAries} tries for ${requests} requests`)
    assert.equal(world.events('error').length, 1)
  })

  it('loads again for requests that joined a load which had begun before the last file was there', async () => {
    for (const isMended of [true, false]) {
      await using world = await World.start()
      const { gate, site } = gated(world)
      const first = world.get('aries.test')
      await eventually(() => site.loads === 1)
      if (isMended)
        world.write('aries.test/app/lib/handler.js', `module.exports = (req, res) => res.end('whole')`)
      const others = ['taurus.test', 'virgo.test'].map(name => world.get(name))
      await eventually(() => world.vhosts.stats().vhosts[0]?.hostnames.length === 3)
      gate.resolve()
      const statuses = (await Promise.all([first, ...others])).map(({ status }) => status)
      // The first request is answered, too, if the second load succeeds before the first load's failure is passed on.
      const [earliest, ...later] = statuses
      assert.deepEqual(later, isMended ? [200, 200] : [500, 500])
      assert.ok(earliest === 500 || (isMended && earliest === 200), String(earliest))
      assert.equal(site.loads, 2)
      assert.equal(world.events('error').length, 1)
    }
  })

  it('makes requests wait for the next attempt after a first failure, and refuses them at once after the second', async () => {
    await using world = await World.start()
    const counter = { loads: 0, last: 0 }
    Object.assign(globalThis, { counterOfWaiting: counter })
    world.write(
      'aries.test/app/index.js',
      'globalThis.counterOfWaiting.loads++; module.exports = require("./lib/late")',
    )
    assert.equal((await world.get('aries.test')).status, 500)
    world.write('aries.test/app/lib/late.js', 'module.exports = (req, res) => res.end("whole")')
    // The version does not change by this.
    const answers = await Promise.all(Array.from({ length: 5 }, () => world.body('aries.test')))
    assert.deepEqual([answers, counter.loads], [Array(5).fill('whole'), 2])
    assert.equal(world.events('error').length, 1)

    world.write(
      'taurus.test/app/index.js',
      'const counter = globalThis.counterOfWaiting; counter.loads++; counter.last = performance.now(); throw new Error("no")',
    )
    const statuses = []
    for (let request = 0; request < 2; request++) statuses.push((await world.get('taurus.test')).status)
    const { last } = counter
    statuses.push((await world.get('taurus.test')).status)
    assert.deepEqual(statuses, [500, 500, 500])
    // The third attempt is due 200 ms after the second.
    const isThirdDue = performance.now() - last > 200
    assert.ok(counter.loads === 4 || isThirdDue, `${counter.loads}`)
  })

  it('makes a request wait long enough for the next attempt, although a timer may fire early', async () => {
    await using world = await World.start({ watch: false, updateInterval: 1000 })
    const names = Array.from({ length: 20 }, (_, n) => `n${n}.test`)
    for (const name of names) {
      world.write(`${name}/app/index.js`, 'module.exports = require("./lib/late")')
      world.write(`${name}/app/lib/early.js`, '')
      assert.equal((await world.get(name)).status, 500)
      // The version does not change by this, as that folder is there already.
      world.write(`${name}/app/lib/late.js`, 'module.exports = (req, res) => res.end("whole")')
      assert.equal(await world.body(name), 'whole', name)
    }
  })

  it('loads other apps although apps that take too long are asked for again and again', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ loadTimeout: 1500, maxConcurrentLoads: 2 })
    const begun: string[] = []
    Object.assign(globalThis, { begunLoads: begun })
    const slow = ['aries.test', 'taurus.test']
    for (const host of slow)
      world.write(
        `${host}/app/index.mjs`,
        `globalThis.begunLoads.push('${host}'); await new Promise(() => {})`,
      )
    world.site('leo.test', 'leo')
    await Promise.all(slow.map(host => world.get(host)))
    const retries: Promise<unknown>[] = []
    while (begun.length < 3) {
      retries.push(...slow.map(host => world.get(host)))
      await delay(5)
    }
    assert.equal(await world.body('leo.test'), 'leo')
    assert.equal(begun.length, 3)
    await Promise.all(retries)
  })

  it('makes nobody wait for another attempt when the last load took too long a moment ago', async () => {
    await using world = await World.start({ loadTimeout: 1000, updateInterval: 60_000 })
    const counter = { loads: 0 }
    Object.assign(globalThis, { counterOfSlow: counter })
    let failedAt = 0
    world.vhosts.on('error', () => {
      failedAt = performance.now()
    })
    let seen: unknown
    // After 100 ms another attempt is due, and made: if this process stalls for that long, one more vhost is asked.
    for (let [site, took] = [1, Number.POSITIVE_INFINITY]; took >= 100; site++) {
      const host = `site-${site}.test`
      const source = 'globalThis.counterOfSlow.loads++; module.exports = new Promise(() => {})'
      world.write(`${host}/app/index.js`, source)
      counter.loads = 0
      seen = [(await world.get(host)).status, (await world.get(host)).status, counter.loads]
      took = performance.now() - failedAt
    }
    assert.deepEqual(seen, [503, 503, 1])
  })

  it('counts a request that comes in the very turn in which an app is loaded', async () => {
    const events = new Events()
    const { cache, ask } = fakeCache(10, events)
    await ask('old')
    const serving = cache.peek('old') as App
    let joined: Promise<App | undefined> | undefined
    events.on('load', () => {
      joined = cache.replace({ realPath: 'new', version: 1 }, 'other.test', { serving, reason: 'moved' })
    })
    const app = await cache.acquire({ realPath: 'new', version: 1 }, 'any.test')
    assert.equal(await joined, app)
    assert.ok(app.isHeld)
    app.letGo()
    assert.ok(!app.isHeld)
  })

  it('disposes an app once the requests that it is held for have come, or drainTimeout is over', async () => {
    for (const drainTimeout of [60_000, 20]) {
      const { cache } = fakeCache(10)
      const app = await cache.acquire({ realPath: 'site', version: 1 }, 'any.test')
      app.hold()
      let isClosed = false
      void cache.close(drainTimeout).then(() => {
        isClosed = true
      })
      app.letGo()
      if (drainTimeout > 20) {
        await turn()
        assert.ok(!isClosed)
        app.letGo()
      }
      await eventually(() => isClosed)
    }
  })

  it('serves a request that comes in the very turn in which a load is taken back', async () => {
    const release = { realPath: 'new', version: 1 }
    // Somewhere in these microtasks the load is given up, but not over.
    for (let before = 0; before < 40; before++) {
      const { cache, ask } = fakeCache(10)
      await ask('old')
      const serving = cache.peek('old') as App
      let asked: Promise<App> | undefined
      const request = async (): Promise<App> => {
        for (let microtask = 0; microtask < before; microtask++) await Promise.resolve()
        return await cache.acquire(release, 'any.test')
      }
      const isWanted = async (): Promise<boolean> => {
        asked = request()
        return false
      }
      await cache.replace(release, 'other.test', { serving, reason: 'moved', isWanted })
      const app = await asked
      assert.ok(app && !app.isRetired, `after ${before} microtasks`)
      assert.equal(app, cache.peek('new'))
    }
  })

  it('keeps the sites in demand loaded while a stranger opens every site once', async t => {
    const alone = await hitRates(0)
    for (const scanned of [1, 5]) {
      const beside = await hitRates(scanned)
      const text = `hot twenty, ${scanned} scanned for each request: ${percent(beside.ours)}, alone ${percent(alone.ours)}`
      t.diagnostic(`${text}; plain LRU: ${percent(beside.plain)}, alone ${percent(alone.plain)}`)
      assert.ok(alone.ours - beside.ours <= 0.02, text)
    }
  })

  it('evicts what was once in demand when it no longer is', async () => {
    const { cache, ask } = fakeCache(10)
    for (let request = 0; request < 100; request++) await ask('once in demand')
    for (let site = 0; site < 10 * 100 * 5; site++) await ask(`site ${site}`)
    assert.equal(cache.peek('once in demand'), undefined)
  })
})

/** An AppCache with empty apps, so that a thousand requests take no time. */
function fakeCache(
  maxApps: number,
  events = new Events(),
): { cache: AppCache; ask: (realPath: string) => Promise<boolean> } {
  const launched: Launched = {
    isolation: 'none',
    handle() {},
    upgrade: undefined,
    isKeptByNode: false,
    environmentWrites: [],
    async dispose() {},
  }
  const hooks = {
    hostnamesOf: () => [],
    realPathOf: () => undefined,
    switched() {},
    left() {},
    ended() {},
    revive() {},
  }
  const cache = new AppCache(resolveOptions({ maxApps }), async () => launched, events, hooks)
  return { cache, ask }

  async function ask(realPath: string): Promise<boolean> {
    const present = cache.get(realPath)
    const app = present ?? (await cache.acquire({ realPath, version: 1 }, 'any.test'))
    app.requests++
    if (!present) app.letGo()
    return present !== undefined
  }
}

/** How often the hot twenty of 200 sites are found loaded, in a Zipf mix, with room for 50 apps. */
async function hitRates(scannedPerRequest: number): Promise<{ ours: number; plain: number }> {
  const { ask } = fakeCache(50)
  const plain = new LRUCache<string, true>({ max: 50 })
  const random = generator(7)
  let scanned = 0
  const hits = { ours: 0, plain: 0, all: 0 }
  for (let request = 0; request < 12_000; request++) {
    const rank = zipf(random, 200)
    const isOurs = await ask(`site ${rank}`)
    const isPlain = plain.has(`site ${rank}`)
    plain.set(`site ${rank}`, true)
    if (rank <= 20 && request > 6000) {
      hits.all++
      if (isOurs) hits.ours++
      if (isPlain) hits.plain++
    }
    for (let scan = 0; scan < scannedPerRequest; scan++) {
      const site = `site ${2000 - (scanned++ % 2000)}`
      await ask(site)
      plain.set(site, true)
    }
  }
  return { ours: hits.ours / hits.all, plain: hits.plain / hits.all }
}

function zipf(random: () => number, sites: number): number {
  let sum = 0
  for (let rank = 1; rank <= sites; rank++) sum += 1 / rank
  let left = random() * sum
  let rank = 1
  while (rank < sites && left > 1 / rank) left -= 1 / rank++
  return rank
}

/** Mulberry32: the same numbers in each run. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}
