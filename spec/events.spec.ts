import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { EventEmitter, on, once } from 'node:events'
import { describe, it } from 'node:test'
import { format, inspect } from 'node:util'
import { Events, type VhostEvents } from '../lib/events.ts'
import { type Release, VhostError } from '../lib/index.ts'
import { runChild } from './support/child.ts'
import { World } from './support/world.ts'

describe('the events of a router', () => {
  it('say on a load which release was loaded, for which names, and how long it took', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    const [load, ...more] = world.events('load')
    assert.ok(load)
    assert.deepEqual(more, [])
    assert.deepEqual(load.hostnames, ['aries.test'])
    assert.equal(load.realPath, world.path('aries.test'))
    assert.equal(typeof load.version, 'string')
    assert.ok(load.durationMs > 0 && load.durationMs < 10_000)
  })

  it('say on a reload what served before, and report its eviction when it is disposed', async () => {
    let version = 1
    await using world = await World.start({ getVersion: () => version, updateInterval: 10 })
    world.write(
      'aries.test/app/index.js',
      'exports.handler = (req, res) => res.end("aries")\nexports.close = () => new Promise(setImmediate)',
    )
    await world.get('aries.test')
    version = 2
    const evict = await world.event('evict')
    const [reload] = world.events('reload')
    assert.ok(reload)
    const realPath = world.path('aries.test')
    assert.deepEqual(reload.hostnames, ['aries.test'])
    assert.equal(reload.realPath, realPath)
    assert.equal(reload.version, 2)
    assert.ok(reload.durationMs > 0)
    assert.deepEqual(plain(reload.previous), { realPath, version: 1 })
    assert.deepEqual(evict.hostnames, ['aries.test'])
    assert.deepEqual(plain(evict), { realPath, version: 1 })
    assert.equal(evict.reason, 'changed')
    assert.deepEqual(
      world.told.map(({ event }) => event),
      ['load', 'reload', 'evict'],
    )
  })

  it('give releases that nobody can change, as load() does', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    const loaded = await world.vhosts.load('aries.test')
    const reloaded = await world.vhosts.reload('aries.test')
    const [reload] = world.events('reload')
    for (const release of [loaded, reloaded, reload?.previous]) {
      assert.throws(() => Object.assign(release as Release, { version: 'of a listener' }), TypeError)
    }
    assert.equal(world.vhosts.stats().vhosts[0]?.version, loaded?.version)
  })

  it('can be awaited by once() and on() of node:events, which leave nothing behind', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    world.write('taurus.test/app/index.js', '(')
    const router = world.vhosts as unknown as EventEmitter
    const loaded = once(router, 'load')
    const loads = on(router, 'load')
    await world.get('aries.test')
    const [[awaited], { value }] = await Promise.all([loaded, loads.next()])
    assert.deepEqual(awaited.hostnames, ['aries.test'])
    assert.equal(value[0], awaited)
    await loads.return?.()
    const stop = new AbortController()
    const never = assert.rejects(once(router, 'evict', { signal: stop.signal }), { name: 'AbortError' })
    stop.abort()
    await never
    assert.equal((await world.get('taurus.test')).status, 500)
    assert.equal(world.events('error').length, 1)
  })

  it('name every hostname that leads to a release', async () => {
    await using world = await World.start()
    world.site('releases/1', 'one')
    for (const name of ['aries.test', 'www.aries.test']) world.link(name, world.path('releases/1'))
    await world.get('aries.test')
    await world.get('www.aries.test')
    await world.vhosts.reload('aries.test')
    assert.deepEqual(world.events('load')[0]?.hostnames, ['aries.test'])
    assert.deepEqual(world.events('reload')[0]?.hostnames, ['aries.test', 'www.aries.test'])
  })

  it('report a failed load for which nothing serves', async () => {
    await using world = await World.start({ getVersion: () => 1 })
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    await world.get('aries.test')
    const [told] = world.events('error')
    assert.ok(told)
    assert.deepEqual(told.hostnames, ['aries.test'])
    assert.equal(told.realPath, world.path('aries.test'))
    assert.equal(told.version, 1)
    assert.ok(told.error instanceof VhostError)
    assert.equal(told.error.code, 'ERR_VHOST_LOAD')
    assert.equal((told.error.cause as Error).message, 'boom')
    assert.equal(told.serving, undefined)
  })

  it('say on a failed reload what still serves', async () => {
    let version = 1
    await using world = await World.start({ getVersion: () => version, updateInterval: 10 })
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    const failed = world.event('error')
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    version = 2
    const { serving, ...told } = await failed
    assert.equal(told.version, 2)
    assert.deepEqual(plain(serving), { realPath: world.path('aries.test'), version: 1 })
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('say what now serves when an app fails to close after a link was flipped', async () => {
    await using world = await World.start({ updateInterval: 10 })
    world.write(
      'releases/1/app/index.js',
      'exports.handler = (req, res) => res.end()\nexports.close = () => { throw new Error("boom") }',
    )
    world.site('releases/2', 'two')
    world.link('aries.test', world.path('releases/1'))
    await world.get('aries.test')
    const failed = world.event('error')
    world.link('aries.test', world.path('releases/2'))
    const { hostnames, realPath, serving } = await failed
    assert.deepEqual([hostnames, realPath], [['aries.test'], world.path('releases/1')])
    assert.equal(serving?.realPath, world.path('releases/2'))
  })

  for (const [reason, provoke] of Object.entries({
    deleted: world => world.remove('aries.test'),
    closed: world => world.vhosts.close(),
    lru: async world => {
      world.site('taurus.test', 'taurus')
      await world.get('taurus.test')
    },
    moved: world => world.link('aries.test', world.path('releases/2')),
    reloaded: world => world.vhosts.reload('aries.test'),
    idle: () => {},
  } satisfies Record<string, (world: World) => unknown>)) {
    it(`give ${reason} as the reason of an eviction`, async () => {
      await using world = await World.start({
        updateInterval: 10,
        maxApps: 1,
        idleTimeout: reason === 'idle' ? 20 : 0,
      })
      world.site('releases/1', 'one')
      world.site('releases/2', 'two')
      world.link('aries.test', world.path('releases/1'))
      const evicted = world.event('evict')
      await world.get('aries.test')
      await provoke(world)
      const { hostnames, realPath, ...evict } = await evicted
      assert.equal(evict.reason, reason)
      assert.deepEqual(hostnames, ['aries.test'])
      assert.equal(realPath, world.path('releases/1'))
    })
  }

  it('name in an eviction every hostname that led to what was deleted', async () => {
    await using world = await World.start({ updateInterval: 10 })
    world.site('aries.test', 'aries')
    world.link('taurus.test', 'aries.test')
    for (const name of ['aries.test', 'taurus.test']) await world.get(name)
    const evicted = world.event('evict')
    world.remove('aries.test')
    const { hostnames, reason } = await evicted
    assert.deepEqual([reason, ...hostnames.toSorted()], ['deleted', 'aries.test', 'taurus.test'])
  })

  it('carry what is documented and nothing else', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    const release = await world.vhosts.load('aries.test')
    await world.vhosts.reload('aries.test')
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    await assert.rejects(world.vhosts.reload('aries.test'))
    await world.vhosts.close()
    const keys = (about: object | undefined): string => Object.keys(about ?? {}).join(' ')
    assert.equal(keys(release), 'realPath version')
    const about = 'event hostnames realPath version'
    assert.equal(keys(world.events('load')[0]), `${about} durationMs`)
    assert.equal(keys(world.events('reload')[0]), `${about} durationMs previous`)
    assert.equal(keys(world.events('reload')[0]?.previous), 'realPath version')
    assert.equal(keys(world.events('evict')[0]), `${about} reason cut`)
    assert.equal(keys(world.events('error')[0]), `${about} error serving`)
    assert.equal(keys(world.events('error')[0]?.serving), 'realPath version')
  })

  it('are also sent to node:diagnostics_channel', async () => {
    const told: [string, unknown][] = []
    const tell = (about: unknown, name: string | symbol): void => {
      told.push([String(name), about])
    }
    const names = ['load', 'reload', 'evict', 'error'].map(event => `express-van:${event}`)
    for (const name of names) subscribe(name, tell)
    try {
      await using world = await World.start()
      world.site('aries.test', 'aries')
      world.write('taurus.test/app/index.js', 'throw new Error("boom")')
      await world.get('aries.test')
      await world.vhosts.reload('aries.test')
      await world.get('taurus.test')
      await world.vhosts.close()
      assert.deepEqual(
        told.filter(([, about]) => (about as { realPath: string }).realPath.startsWith(world.base)),
        world.told.map(({ event, ...about }) => [`express-van:${event}`, about]),
      )
      assert.deepEqual(new Set(told.map(([name]) => name)), new Set(names))
    } finally {
      for (const name of names) unsubscribe(name, tell)
    }
  })
})

describe('on, once and off', () => {
  it('return the router, and call each listener as often as promised', async () => {
    await using world = await World.start()
    const { vhosts } = world
    const called: string[] = []
    const always = (): void => void called.push('always')
    const never = (): void => void called.push('never')
    const chained = vhosts
      .on('load', always)
      .once('load', () => called.push('once'))
      .on('load', never)
      .off('load', never)
      .off('reload', never)
    assert.equal(chained, vhosts)
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.get(name)
    }
    assert.deepEqual(called, ['always', 'once', 'always'])
  })
})

describe('Events', () => {
  const about: VhostEvents['error'] = {
    hostnames: ['aries.test', 'www.aries.test'],
    realPath: '/srv/aries',
    version: 1,
    error: new VhostError('ERR_VHOST_LOAD', { hostname: 'aries.test', cause: new Error('boom') }),
    serving: undefined,
  }

  it('writes an error to stderr, with its cause, if nobody listens', t => {
    const { mock } = t.mock.method(console, 'error', () => {})
    new Events().emit('error', about)
    new Events().emit('error', { ...about, serving: { realPath: '/srv/aries', version: 0 } })
    new Events().emit('error', { ...about, serving: { realPath: '/srv/aries', version: 1 } })
    new Events().emit('error', { ...about, hostnames: [] })
    const error = new Error('close() of the app failed')
    new Events().emit('error', { ...about, error, serving: { realPath: '/srv/aries', version: 2 } })
    assert.deepEqual(
      mock.calls.map(({ arguments: [text] }) => /^.*?:(?= \[?(?:Vhost)?Error)/.exec(String(text))?.[0]),
      [
        'express-van: aries.test, www.aries.test: nothing serves:',
        'express-van: aries.test, www.aries.test: the release before it serves on:',
        'express-van: aries.test, www.aries.test: it serves on:',
        'express-van: (no vhost): nothing serves:',
        'express-van: aries.test, www.aries.test: the release after it serves:',
      ],
    )
    assert.match(String(mock.calls[0]?.arguments[0]), /\n {4}\[cause\]: Error: boom\n {8,}at /)
  })

  it('writes nothing to stderr that looks like a line of another vhost, or that a terminal would obey', t => {
    const { mock } = t.mock.method(console, 'error', () => {})
    const cause = new Error('one\nleo.test | two\n\x1b]0;title\x07\u202e')
    const odd = Object.assign(new Error('odd'), {
      [inspect.custom]: () => {
        throw new Error('custom')
      },
    })
    for (const error of [cause, new VhostError('ERR_VHOST_LOAD', { cause }), odd]) {
      new Events().emit('error', { ...about, error })
    }
    assert.equal(mock.calls.length, 3)
    for (const { arguments: texts } of mock.calls) {
      assert.match(
        String(texts),
        /^express-van: aries\.test, www\.aries\.test: nothing serves: [^\n]*(\n .*)*$/,
      )
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
      assert.doesNotMatch(String(texts), /[\x07\x1b\u202e]/)
    }
  })

  it('writes what it can of an error whose properties throw', t => {
    const written: string[] = []
    t.mock.method(console, 'error', (...values: unknown[]) => written.push(format(...values)))
    const fail = (): never => assert.fail('of the app')
    const cause = { [inspect.custom]: fail }
    const bare = Object.assign(new Error('boom'), { [inspect.custom]: fail })
    const nothing = Object.defineProperties(new Error(), { stack: { get: fail }, message: { get: fail } })
    for (const error of [new VhostError('ERR_VHOST_LOAD', { cause }), bare, nothing]) {
      new Events().emit('error', { ...about, hostnames: ['aries.test'], error })
    }
    assert.equal(written.length, 3)
    assert.match(String(written[0]), /^express-van: aries\.test: nothing serves: \[?VhostError/)
    assert.match(String(written[1]), /^express-van: aries\.test: nothing serves: \[?Error: boom/)
  })

  it('informs a monitor of errors without silencing stderr', t => {
    const written = t.mock.method(console, 'error', () => {})
    const events = new Events()
    const monitored: unknown[] = []
    const monitor = (told: unknown): number => monitored.push(told)
    events.on(EventEmitter.errorMonitor, monitor)
    events.emit('error', about)
    assert.deepEqual([monitored, written.mock.callCount()], [[about], 1])
    events.on('error', () => {})
    events.emit('error', about)
    assert.deepEqual([monitored, written.mock.callCount()], [[about, about], 1])
    events.off(EventEmitter.errorMonitor, monitor)
    events.emit('error', about)
    assert.equal(monitored.length, 2)
  })

  it('writes nothing to stderr if somebody listens', t => {
    const { mock } = t.mock.method(console, 'error', () => {})
    const events = new Events()
    const seen: unknown[] = []
    events.once('error', told => seen.push(told))
    events.emit('error', about)
    assert.deepEqual(seen, [about])
    assert.equal(mock.calls.length, 0)
    events.emit('error', about)
    assert.equal(mock.calls.length, 1, 'nobody listens any more')
  })
})

describe('a process with a router', () => {
  it('reports an error that nobody listens to, and goes on', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    const { output, errors, code } = await runChild(`
      import { vhostRouter } from 'lib/index.js'
      const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())} })
      await vhosts.load('aries.test').catch(error => console.log(error.code))
      await vhosts.close()
    `)
    assert.equal(code, 0, errors)
    assert.equal(output, 'ERR_VHOST_LOAD\n')
    assert.match(errors, /^express-van: aries\.test: nothing serves: \[?VhostError \[ERR_VHOST_LOAD\]/)
    assert.match(errors, /\[cause\]: Error: boom/)
  })

  it('survives an app that throws a value whose properties throw', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `throw { [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('mine') } }`,
    )
    const script = `
      import { vhostRouter } from 'lib/index.js'
      const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())} })
      await vhosts.load('aries.test').catch(error => console.log(error.message))
      await vhosts.close()
    `
    for (const before of [[], ['env', 'NODE_DEBUG=express-van']]) {
      const { output, errors, code } = await runChild(script, { before })
      assert.equal(code, 0, errors)
      assert.equal(output, 'aries.test: The app cannot be loaded\n')
    }
  })

  it('treats an exception in a listener as uncaught, and completes the swap', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    const { output, errors, code } = await runChild(`
      import { vhostRouter } from 'lib/index.js'
      const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())} })
      process.on('uncaughtException', error => console.log('uncaught', error.message))
      for (const event of ['load', 'reload', 'evict']) {
        vhosts.on(event, () => { throw new Error(event) })
      }
      console.log((await vhosts.load('aries.test')).realPath.endsWith('aries.test'))
      console.log((await vhosts.reload('aries.test')).realPath.endsWith('aries.test'))
      await vhosts.close()
      console.log(vhosts.stats().totals.apps)
    `)
    assert.equal(code, 0, errors)
    assert.deepEqual(output.trim().split('\n').sort(), [
      '0',
      'true',
      'true',
      'uncaught evict',
      'uncaught evict',
      'uncaught load',
      'uncaught reload',
    ])
  })

  it('logs its decisions if NODE_DEBUG names express-van, and nothing otherwise', async () => {
    await using world = await World.start()
    world.site('releases/1', 'one')
    world.site('releases/2', 'two')
    world.link('aries.test', world.path('releases/1'))
    const script = `
      import { renameSync, symlinkSync } from 'node:fs'
      import { vhostRouter } from 'lib/index.js'
      const www = ${JSON.stringify(world.path())}
      const vhosts = vhostRouter({ basePath: www, updateInterval: 10 })
      await vhosts.load('aries.test')
      const moved = new Promise(resolve => vhosts.on('evict', resolve))
      symlinkSync(www + '/releases/2', www + '/new')
      renameSync(www + '/new', www + '/aries.test')
      await moved
      await vhosts.close()
    `
    const { errors, code } = await runChild(script, { before: ['env', 'NODE_DEBUG=express-van'] })
    assert.equal(code, 0, errors)
    const lines = errors.split('\n').filter(line => line.startsWith('EXPRESS-VAN '))
    for (const said of [
      /load aries\.test .*releases\/1/,
      /aries\.test: another release is there/,
      /reload aries\.test .*releases\/2/,
      /evict aries\.test .*moved/,
      /evict aries\.test .*closed/,
    ]) {
      assert.ok(errors.replaceAll('\n', ' ').match(said), `${said}: ${errors}`)
    }
    assert.ok(lines.length >= 5, errors)
    world.link('aries.test', world.path('releases/1'))
    assert.equal((await runChild(script)).errors, '')
  })
})

/** A release with its documented properties only. */
function plain(release: Release | undefined): Release | undefined {
  return release && { realPath: release.realPath, version: release.version }
}
