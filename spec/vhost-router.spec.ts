import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import express from 'express'
import type { VhostError, VhostExplanation } from '../lib/index.ts'
import { runChild } from './support/child.ts'
import { FsCalls } from './support/patched-fs.ts'
import { eventually, type Handler, World } from './support/world.ts'

type Isolation = 'none' | 'thread' | 'process'

for (const isolation of ['none', 'thread', 'process'] as const)
  describe(`vhostRouter, isolation: '${isolation}'`, () => behaves(isolation))

function behaves(isolation: Isolation): void {
  const start = (
    options: Parameters<typeof World.start>[0] = {},
    set?: Parameters<typeof World.start>[1],
  ): Promise<World> => World.start({ isolation, ...options }, set)
  const isHere = isolation === 'none'

  it('serves the app in the folder named for the host', async () => {
    await using world = await start()
    world.site('aries.test', 'aries')
    world.site('taurus.test', 'taurus')
    assert.equal(await world.body('aries.test'), 'aries')
    assert.equal(await world.body('taurus.test'), 'taurus')
  })

  it('ignores case, port and one trailing dot of the host, and keeps one app for all', async () => {
    await using world = await start()
    world.site('aries.test', 'aries')
    for (const host of ['aries.test', 'ARIES.test', 'aries.test:8080', 'aries.test.', 'Aries.Test.:1']) {
      assert.equal(await world.body(host), 'aries', host)
    }
    assert.equal(world.events('load').length, 1)
    assert.deepEqual(world.vhosts.stats().vhosts[0]?.hostnames, ['aries.test'])
  })

  it('hands over to next() when there is no folder, no app in it, or no Host', async () => {
    await using world = await start()
    world.write('static.test/static/index.html', 'static')
    assert.deepEqual(await statusAndBody(world, 'nobody.test'), [404, 'nobody serves this'])
    assert.deepEqual(await statusAndBody(world, 'static.test'), [404, 'nobody serves static.test'])
    assert.match(await world.raw('GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 404 /)
    assert.deepEqual(world.told, [])
  })

  it('does for every request what it does outside the context of the first', async () => {
    const context = new AsyncLocalStorage<string>()
    const seen: [what: string, context: string | undefined][] = []
    const note = (what: string): void => void seen.push([what, context.getStore()])
    await using world = await start({ updateInterval: 50 }, (app, vhosts) => {
      for (const event of ['load', 'reload', 'evict'] as const) vhosts.on(event, () => note(event))
      app.use((_req, _res, next) => context.run('a request', next))
      app.use(vhosts)
    })
    Object.assign(globalThis, { note })
    const source = (text: string): string => `
      const note = globalThis.note ?? (() => {})
      note('run')
      module.exports = (req, res) => (note('asked'), res.end('${text}'))
      module.exports.close = () => note('close')`
    world.write('aries.test/app/index.js', source('one'))
    assert.equal(await world.body('aries.test'), 'one')
    world.write('aries.test/app/index.js', source('two'))
    await eventually(() => assert.equal(world.events('reload').length, 1))
    await eventually(() => assert.equal(world.events('evict').length, 1))
    assert.equal(await world.body('aries.test'), 'two')
    const asked = seen.filter(([what]) => what === 'asked')
    assert.deepEqual(new Set(asked.map(([, store]) => store)), new Set(isHere ? ['a request'] : []))
    const others = seen.filter(([what]) => what !== 'asked')
    const expected = ['evict', 'load', 'reload', ...(isHere ? ['close', 'run'] : [])]
    assert.deepEqual([...new Set(others.map(([what]) => what))].sort(), expected.sort())
    assert.deepEqual(
      others.filter(([, store]) => store !== undefined),
      [],
    )
  })

  // A connection to an isolated app keeps what it was opened for as long as the connection is used.
  if (isHere)
    it('keeps nothing of the request that came first', async () => {
      const context = new AsyncLocalStorage<object>()
      const stores: WeakRef<object>[] = []
      await using world = await start({}, (app, vhosts) => {
        app.use((_req, _res, next) => {
          const store = {}
          stores.push(new WeakRef(store))
          context.run(store, next)
        })
        app.use(vhosts)
      })
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      await eventually(() => {
        globalThis.gc?.()
        assert.equal(stores[0]?.deref(), undefined)
      })
    })

  if (isHere)
    it('looks at the disk once for an unknown name, and goes on in the context of the request', async () => {
      const context = new AsyncLocalStorage<string>()
      const seen: [host: string | undefined, context: string | undefined][] = []
      await using world = await start({}, (app, vhosts) => {
        app.use((req, _, next) => context.run(String(req.headers.host), next))
        app.use(vhosts.static(), vhosts, vhosts.static())
        app.use((req, _, next) => {
          seen.push([req.headers.host, context.getStore()])
          next()
        })
      })
      const names = Array.from({ length: 20 }, (_, n) => `stranger-${n}.test`)
      // The router looks for the base path once, before this.
      await nextTurn()
      using calls = new FsCalls()
      const answers = await Promise.all(names.map(name => world.get(name)))
      const looks = calls.paths.filter(path => path.startsWith(world.path()))
      assert.deepEqual(looks.sort(), names.map(name => world.path(name)).sort())
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([404]))
      assert.equal(seen.length, names.length)
      for (const [host, store] of seen) assert.equal(store, host)
    })

  it('refuses a malformed host with 400 before it looks at the disk', async () => {
    const asked: string[] = []
    await using world = await start({
      getVhostPath: hostname => {
        asked.push(hostname)
        return undefined
      },
    })
    for (const host of ['a..b', '../x', 'a/b', 'exa mple.com', '1.2.3', 'a:99999']) {
      assert.equal((await world.get(host)).status, 400, host)
    }
    assert.deepEqual(asked, [])
    assert.deepEqual(
      new Set(world.errors.map(error => (error as VhostError).code)),
      new Set(['ERR_VHOST_HOST']),
    )
  })

  it('tells the sub-app and later handlers which vhost it was', async () => {
    await using world = await start()
    world.write(
      'aries.test/app/index.js',
      'module.exports = (req, res, next) => req.url === "/next" ? next() : res.end(JSON.stringify(req.vhost))',
    )
    world.link('www.aries.test', 'aries.test')
    for (let time = 0; time < 2; time++) {
      assert.deepEqual(JSON.parse(await world.body('www.aries.test:81')), {
        hostname: 'www.aries.test',
        host: 'www.aries.test:81',
        path: world.path('www.aries.test'),
        realPath: world.path('aries.test'),
        length: 1,
        0: 'www.aries.test',
      })
      assert.equal(await world.body('aries.test', '/next'), 'nobody serves aries.test')
    }
  })

  it('gives what the vhost package would: the parts of the name that the pattern used', async () => {
    await using world = await start({ vhostDir: ['%0', '.any.%-2/%1', '.default'] })
    const app = `module.exports = (req, res) => {
      const { vhost } = req
      res.end([vhost.host, vhost.hostname, vhost.length, ...Array.from(vhost), Object.isFrozen(vhost)].join(' '))
    }`
    world.write('aries.test/app/index.js', app)
    world.write('.any.example/www/app/index.js', app)
    world.write('.default/app/index.js', app)
    for (let time = 0; time < 2; time++) {
      assert.equal(await world.body('Aries.test:81'), 'Aries.test:81 aries.test 1 aries.test true')
      assert.equal(await world.body('www.example.com'), 'www.example.com www.example.com 2 example www true')
      assert.equal(await world.body('nobody.test'), 'nobody.test nobody.test 0 true')
    }
  })

  it('gives no parts if getVhostPath chose the folder', async () => {
    await using world = await start({ getVhostPath: () => 'aries' })
    world.write(
      'aries/app/index.js',
      'module.exports = (req, res) => res.end(JSON.stringify(req.vhost.length))',
    )
    assert.equal(await world.body('aries.test'), '0')
  })

  it('leads each name to its own folder if static() and the router trust different proxies', async () => {
    await using world = await World.start({ updateInterval: 20 }, (app, vhosts) => {
      app.use(vhosts.static())
      const inner = express().set('trust proxy', true)
      inner.use(vhosts)
      app.use(inner)
    })
    world.site('aries.test', 'aries')
    world.site('taurus.test', 'taurus')
    const forwarded = { headers: { 'X-Forwarded-Host': 'taurus.test' } }
    assert.equal((await world.get('aries.test', '/', forwarded)).body, 'taurus')
    assert.equal(await world.body('taurus.test'), 'taurus')
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('finds where a folder lies, and loads nothing', async () => {
    await using world = await start({ vhostDir: ['%0/current', '%0', '.any.%2+'] })
    world.write('releases/1/readme.txt', '')
    world.link('aries.test/current', '../releases/1')
    world.write('.any.test/readme.txt', '')
    assert.deepEqual(await world.vhosts.lookup('Aries.test.:81'), {
      hostname: 'aries.test',
      path: world.path('aries.test/current'),
      realPath: world.path('releases/1'),
      isExact: true,
    })
    assert.equal((await world.vhosts.lookup('www.test'))?.isExact, false)
    assert.equal(await world.vhosts.lookup('nobody.else'), undefined)
    await assert.rejects(world.vhosts.lookup('../x'), { code: 'ERR_VHOST_HOST', status: 400 })
    await world.vhosts.close()
    assert.equal((await world.vhosts.lookup('aries.test'))?.isExact, true)
    assert.deepEqual(world.told, [])
  })

  it('finds by getVhostPath whether the folder bears the name', async () => {
    let fault: string | undefined
    await using world = await start({
      getVhostPath: hostname => {
        if (fault) throw Object.assign(new Error('no luck'), { code: fault })
        return hostname.startsWith('any.') ? 'any' : `${hostname}/live`
      },
    })
    world.write('any/readme.txt', '')
    world.write('aries.test/live/readme.txt', '')
    assert.equal((await world.vhosts.lookup('aries.test'))?.isExact, true)
    assert.equal((await world.vhosts.lookup('any.test'))?.isExact, false)
    fault = 'EACCES'
    assert.equal(await world.vhosts.lookup('aries.test'), undefined)
    fault = 'EIO'
    await assert.rejects(world.vhosts.lookup('aries.test'), { code: 'ERR_VHOST_LOAD' })
  })

  for (const [what, fail] of [
    ['rejects with nothing', () => Promise.reject()],
    [
      'throws null',
      () => {
        throw null
      },
    ],
  ] as [string, () => Promise<never>][]) {
    it(`keeps what serves, and reports it, if getVersion ${what}`, async () => {
      let isDown = false
      await using world = await start({ updateInterval: 20, getVersion: () => (isDown ? fail() : 'v1') })
      world.site('aries.test', 'aries')
      world.site('cold.test', 'cold')
      assert.equal(await world.body('aries.test'), 'aries')
      isDown = true
      await eventually(() => world.events('error').length > 0)
      assert.equal(await world.body('aries.test'), 'aries')
      assert.equal((await world.get('cold.test')).status, 500)
      const [error] = world.errors as { code: string; cause: Error }[]
      assert.equal(error?.code, 'ERR_VHOST_LOAD')
      assert.equal(error.cause.message, 'getVersion() rejected with nothing')
    })
  }

  it('treats a handler that rejects with undefined as failed, as Express 5 does', async () => {
    await using world = await start()
    world.write('aries.test/app/index.js', 'module.exports = () => Promise.reject()')
    for (let time = 0; time < 2; time++) assert.equal((await world.get('aries.test')).status, 500)
    assert.equal((world.errors[0] as Error).message, 'Rejected promise')
  })

  it('refuses what is no host in words that say so', async () => {
    await using world = await start()
    for (const host of [undefined, null, 5, {}, ['a']] as unknown as string[]) {
      const refusal = { code: 'ERR_VHOST_HOST', message: /host is not a string/ }
      await assert.rejects(world.vhosts.load(host), refusal)
      await assert.rejects(world.vhosts.reload(host), refusal)
      await assert.rejects(world.vhosts.lookup(host), refusal)
      assert.throws(() => world.vhosts.reserve(host), refusal)
      if (host !== undefined) assert.equal((await world.vhosts.why(host)).outcome, 'refused')
    }
  })

  it('loads once for requests that come together', async () => {
    await using world = await start()
    world.write(
      'aries.test/app/index.mjs',
      `globalThis.loadsOfAries = (globalThis.loadsOfAries ?? 0) + 1
       await new Promise(resolve => setTimeout(resolve, 30))
       export default (req, res) => res.end(String(globalThis.loadsOfAries))`,
    )
    const answers = await Promise.all(Array.from({ length: 50 }, () => world.body('aries.test')))
    assert.deepEqual(new Set(answers), new Set(['1']))
    assert.equal(world.events('load').length, 1)
  })

  it('shares one app between the names that lead to one release', async () => {
    await using world = await start()
    world.write('aries.test/app/index.js', 'let n = 0; module.exports = (req, res) => res.end(String(++n))')
    world.link('www.aries.test', 'aries.test')
    world.link('ram.test', 'www.aries.test')
    assert.deepEqual(
      [await world.body('aries.test'), await world.body('www.aries.test'), await world.body('ram.test')],
      ['1', '2', '3'],
    )
    assert.equal(world.events('load').length, 1)
  })

  it('takes a folder whose real path contains the base path for no vhost', async () => {
    await using world = await start()
    world.link('up.test', '..')
    world.link('self.test', '.')
    world.write('../app/index.js', 'module.exports = (req, res) => res.end("escaped")')
    world.write('app/index.js', 'module.exports = (req, res) => res.end("escaped")')
    assert.equal((await world.get('up.test')).status, 404)
    assert.equal((await world.get('self.test')).status, 404)
  })

  it('follows vhostDir in order, and never a dangling link to the default', async () => {
    await using world = await start({ vhostDir: ['%0/current', '%0', '.any.%2+', '.default'] })
    world.site('aries.test/releases/1', 'release 1')
    world.link('aries.test/current', 'releases/1')
    world.site('taurus.test', 'plain')
    world.site('.any.gemini.test', 'any gemini')
    world.site('.default', 'default')
    world.link('lost.test', 'nowhere')
    world.link('broken.test/current', 'nowhere')
    assert.equal(await world.body('aries.test'), 'release 1')
    assert.equal(await world.body('taurus.test'), 'plain')
    assert.equal(await world.body('x.gemini.test'), 'any gemini')
    assert.equal(await world.body('whoever.example'), 'default')
    assert.equal((await world.get('lost.test')).status, 404)
    assert.equal((await world.get('broken.test')).status, 404)
  })

  it('prefers a folder of its own as soon as it appears', async () => {
    await using world = await start({ vhostDir: ['%0', '.default'], updateInterval: 50 })
    world.site('.default', 'default')
    assert.equal(await world.body('aries.test'), 'default')
    world.site('aries.test', 'aries')
    await eventually(async () => (await world.body('aries.test')) === 'aries')
  })

  it('leads no name to the folder to which another name is just being led', async () => {
    await using world = await start({ vhostDir: ['%0', '.default'] })
    world.site('.default', 'default')
    assert.equal(await world.body('aries.test'), 'default')
    world.write(
      'aries.test/app/index.js',
      `const { existsSync, writeFileSync } = require('fs')
       writeFileSync(__dirname + '/../loading', '')
       module.exports = new Promise(resolve => {
         const timer = setInterval(() => {
           if (!existsSync(__dirname + '/../loaded')) return
           clearInterval(timer)
           resolve((req, res) => res.end('aries'))
         }, 10)
       })`,
    )
    await eventually(() => existsSync(world.path('aries.test/loading')))
    assert.equal(await world.body('taurus.test'), 'default')
    world.write('aries.test/loaded', '')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'aries'))
  })

  it('leads a reserved name nowhere, even if it was served until then', async () => {
    await using world = await World.start({ vhostDir: ['%0', '.default'] })
    for (const folder of ['aries.test', '.default']) world.site(folder, folder)
    assert.deepEqual(await statusAndBody(world, 'aries.test'), [200, 'aries.test'])
    const evicted = world.event('evict')
    world.vhosts.reserve('Aries.test:80')
    assert.equal((await world.get('aries.test')).status, 404)
    assert.equal((await evicted).reason, 'deleted')
    assert.equal(await world.vhosts.load('aries.test'), undefined)
    assert.equal(await world.vhosts.lookup('aries.test'), undefined)
    assert.equal(await world.body('taurus.test'), '.default')
    assert.throws(() => world.vhosts.reserve('..'), { code: 'ERR_VHOST_HOST' })
  })

  it('leads a name nowhere that is reserved while its app is being loaded', async () => {
    await using world = await World.start({ updateInterval: 50 })
    let finish = (): void => {}
    const ready = new Promise<void>(resolve => {
      finish = resolve
    })
    const { reservedSite } = Object.assign(globalThis, { reservedSite: { isLoading: false, ready } })
    world.write(
      'aries.test/app/index.js',
      `globalThis.reservedSite.isLoading = true
       module.exports = globalThis.reservedSite.ready.then(() => (req, res) => res.end('aries'))`,
    )
    const first = world.get('aries.test')
    await eventually(() => reservedSite.isLoading)
    world.vhosts.reserve('aries.test')
    finish()
    await first
    assert.equal((await world.get('aries.test')).status, 404)
    await eventually(() => assert.equal(world.events('evict').length, 1))
    assert.deepEqual(world.vhosts.stats().vhosts, [])
  })

  it('keeps a bounded number of the names that a wildcard leads to one app', async () => {
    await using world = await start({ vhostDir: ['%0', '.any'] })
    world.site('aries.test', 'aries')
    world.site('.any', 'any')
    assert.equal(await world.body('aries.test'), 'aries')
    for (let name = 0; name < 150; name++) assert.equal(await world.body(`name-${name}.test`), 'any')
    const { vhosts, totals } = world.vhosts.stats()
    assert.equal(vhosts.find(({ realPath }) => realPath === world.path('.any'))?.hostnames.length, 100)
    assert.equal(totals.hostnames, 101)
    assert.equal(await world.body('name-0.test'), 'any')
    assert.equal(world.events('load').length, 2)
    assert.deepEqual(world.events('evict'), [])
  })

  it('neither reads the release again nor watches it for each further name that a wildcard leads there', async () => {
    await using world = await start({ vhostDir: ['%0', '.any'], updateInterval: 60_000 })
    world.site('.any', 'any')
    for (let name = 0; name < 100; name++) assert.equal(await world.body(`name-${name}.test`), 'any')
    using calls = new FsCalls()
    const names = Array.from({ length: 400 }, (_, name) => `other-${name}.test`)
    for (const name of names) assert.equal(await world.body(name), 'any')
    const looks = new Map<string, number>()
    for (const path of calls.paths) looks.set(path, (looks.get(path) ?? 0) + 1)
    const others = names.filter(name => looks.get(world.path(name)) === 1)
    assert.ok(others.length > names.length / 2, `${others.length} were looked for once`)
    const reads = looks.get(world.path('.any/app/package.json')) ?? 0
    assert.ok(reads < names.length / 2, `${reads} readings`)
  })

  if (isHere)
    it('serves the documents of a release that is being loaded if the one before it was deleted', async () => {
      await using world = await start({}, (app, vhosts) => app.use(vhosts.static(), vhosts))
      for (const release of ['one', 'two']) world.write(`../${release}/static/name.txt`, release)
      world.site('../one', 'app one')
      world.write(
        '../two/app/index.js',
        'module.exports = new Promise(go => Object.assign(globalThis, { go }))',
      )
      world.link('aries.test', '../one')
      assert.equal(await world.body('aries.test'), 'app one')
      world.link('aries.test', '../two')
      world.remove('../one')
      assert.equal(await world.body('aries.test', '/name.txt'), 'two')
      await eventually(() => 'go' in globalThis)
      assert.equal(await world.body('aries.test', '/name.txt'), 'two')
      assert.equal(await world.body('aries.test'), 'app one')
      const { go } = globalThis as unknown as { go(handler: Handler): void }
      go((_, res) => res.end('app two'))
      await eventually(async () => (await world.body('aries.test')) === 'app two')
      Reflect.deleteProperty(globalThis, 'go')
    })

  if (isHere)
    it('serves the documents of a release that is being loaded while those of the one before it are being deleted', async () => {
      await using world = await start({}, (app, vhosts) => app.use(vhosts.static(), vhosts))
      for (const release of ['one', 'two']) world.write(`../${release}/static/name.txt`, release)
      world.write('../two/static/new.txt', 'new')
      world.site('../one', 'app one')
      world.write(
        '../two/app/index.js',
        'module.exports = new Promise((_, fail) => Object.assign(globalThis, { fail }))',
      )
      world.link('aries.test', '../one')
      assert.equal(await world.body('aries.test'), 'app one')
      assert.equal(await world.body('aries.test', '/new.txt'), 'app one')
      world.link('aries.test', '../two')
      world.remove('../one/static/name.txt')
      assert.equal(await world.body('aries.test', '/name.txt'), 'two')
      world.remove('../one/static')
      assert.equal(await world.body('aries.test', '/name.txt'), 'two')
      await eventually(() => 'fail' in globalThis)
      assert.equal(await world.body('aries.test', '/name.txt'), 'two')
      assert.equal(await world.body('aries.test', '/none.txt'), 'app one')
      ;(globalThis as unknown as { fail(error: Error): void }).fail(new Error('boom'))
      await eventually(() => world.events('error').length === 1)
      assert.equal(await world.body('aries.test', '/new.txt'), 'app one', 'of a release that does not load')
      Reflect.deleteProperty(globalThis, 'fail')
    })

  if (isHere)
    it('lets an app finish its answer when its name is crowded out by names of wildcards that lead elsewhere', async () => {
      await using world = await start({ vhostDir: ['%0', '.any.%2+'], drainTimeout: 100 })
      world.write('aries.test/app/index.js', 'module.exports = (req, res) => req.pipe(res)')
      const request = http.request({
        port: world.port,
        method: 'POST',
        headers: { host: 'aries.test' },
        agent: false,
      })
      request.write('begun ')
      const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
      for (let site = 0; site < 10; site++) {
        world.site(`.any.${site}.test`, 'any')
        for (let name = 0; name < 100; name++) await world.vhosts.load(`${name}.${site}.test`)
      }
      assert.ok(world.vhosts.stats().totals.hostnames < 1000, 'some had to go')
      request.end('ended')
      assert.equal(await text(answer), 'begun ended')
      assert.deepEqual(world.events('evict'), [])
    })

  it('follows X-Forwarded-Host if the outer app trusts the proxy, and not otherwise', async () => {
    const headers = { 'x-forwarded-host': 'taurus.test' }
    for (const [trust, served] of [
      [false, 'aries'],
      ['loopback', 'taurus'],
    ] as const) {
      await using world = await start({}, (app, vhosts) => app.set('trust proxy', trust).use(vhosts))
      world.site('aries.test', 'aries')
      world.site('taurus.test', 'taurus')
      assert.equal((await world.get('aries.test', '/', { headers })).body, served)
    }
  })

  it('lets the option trustProxy overrule the outer app', async () => {
    await using world = await start({ trustProxy: 'loopback' })
    world.site('taurus.test', 'taurus')
    const answer = await world.get('aries.test', '/', { headers: { 'x-forwarded-host': 'taurus.test' } })
    assert.equal(answer.body, 'taurus')
  })

  for (const [how, trustProxy, message] of [
    ['throws', () => assert.fail('boom'), /^boom$/],
    ['gives a promise, even of false', async () => false, /'trustProxy' must give true or false at once/],
    ['gives a promise that rejects', async () => assert.fail('boom'), /'trustProxy' must give true or false/],
  ] as const) {
    it(`trusts nobody if the option trustProxy ${how}, and says so`, async () => {
      await using world = await start({ trustProxy: trustProxy as () => boolean })
      world.site('aries.test', 'aries')
      world.site('taurus.test', 'taurus')
      const headers = { 'x-forwarded-host': 'taurus.test' }
      assert.equal((await world.get('aries.test', '/', { headers })).status, 500)
      assert.equal(world.errors.length, 1)
      assert.match((world.errors[0] as Error).message, message)

      // On a server without Express, a throw here would end the process.
      const req = new http.IncomingMessage(new Socket())
      req.url = '/'
      req.rawHeaders.push('Host', 'aries.test', 'X-Forwarded-Host', 'taurus.test')
      const passed = new Promise<unknown>(resolve => world.vhosts(req, new http.ServerResponse(req), resolve))
      assert.match(((await passed) as Error).message, message)
    })
  }

  it('works below a mount path and without Express', async () => {
    await using world = await start({}, (app, vhosts) => app.use('/sites', vhosts))
    world.write(
      'aries.test/app/index.js',
      'module.exports = (req, res) => res.end([req.baseUrl, req.url, req.originalUrl].join(" "))',
    )
    assert.equal(await world.body('aries.test', '/sites/x?y'), '/sites /x?y /sites/x?y')

    const server = http.createServer((req, res) =>
      world.vhosts(req, res, () => res.writeHead(404).end('plain 404')),
    )
    await new Promise<void>(resolve => server.listen(0, resolve))
    try {
      const port = (server.address() as { port: number }).port
      const { body } = await world.get('aries.test', '/z', { port })
      // In process, nobody has set what Express sets.
      assert.equal(body, isHere ? ' /z ' : ' /z /z')
      assert.equal((await world.get('nobody.test', '/', { port })).body, 'plain 404')
    } finally {
      server.close()
    }
  })

  describe('isolates vhosts as mod-wsgi-van does', () => {
    it('isolation: each answers for itself', async () => {
      await using world = await start()
      for (const name of ['aries', 'taurus', 'virgo']) world.site(`${name}.test`, name)
      for (const name of ['aries', 'taurus', 'virgo']) assert.equal(await world.body(`${name}.test`), name)
    })

    it('runtime isolation: a module of the same name is its own, even if it is required late', async () => {
      await using world = await start()
      for (const name of ['aries', 'taurus']) {
        world.write(`${name}.test/app/lib.js`, `module.exports = '${name}'`)
        world.write(`${name}.test/app/index.js`, `module.exports = (req, res) => res.end(require('./lib'))`)
      }
      assert.equal(await world.body('aries.test'), 'aries')
      assert.equal(await world.body('taurus.test'), 'taurus')
      assert.equal(await world.body('aries.test'), 'aries')
    })

    it('dependency isolation: a package of the same name is its own, in either module system', async () => {
      await using world = await start()
      for (const [name, version] of [
        ['aries', '1.0.0'],
        ['taurus', '2.0.0'],
      ]) {
        world.write(
          `${name}.test/node_modules/dep/package.json`,
          `{ "name": "dep", "version": "${version}" }`,
        )
        world.write(`${name}.test/node_modules/dep/index.js`, `module.exports = '${version}'`)
      }
      world.write('aries.test/app/index.js', `module.exports = (req, res) => res.end(require('dep'))`)
      world.write(
        'taurus.test/app/index.mjs',
        `import dep from 'dep'; export default (req, res) => res.end(dep)`,
      )
      assert.equal(await world.body('aries.test'), '1.0.0')
      assert.equal(await world.body('taurus.test'), '2.0.0')
    })

    it('vhost isolation: a package of one is not found by another', async () => {
      await using world = await start()
      world.write('aries.test/node_modules/dep/index.js', 'module.exports = 1')
      for (const name of ['aries', 'taurus']) {
        world.write(
          `${name}.test/app/index.js`,
          `const dep = require('dep'); module.exports = (req, res) => res.end(String(dep))`,
        )
      }
      assert.equal(await world.body('aries.test'), '1')
      assert.equal((await world.get('taurus.test')).status, 500)
    })

    it('reload: a touch takes effect', async () => {
      await using world = await start()
      world.site('aries.test', 'one')
      assert.equal(await world.body('aries.test'), 'one')
      world.site('aries.test', 'two')
      await eventually(async () => (await world.body('aries.test')) === 'two')
    })

    it('delete: gone, and back', async () => {
      await using world = await start()
      world.site('aries.test', 'one')
      assert.equal(await world.body('aries.test'), 'one')
      const evicted = world.event('evict')
      world.remove('aries.test')
      assert.equal((await evicted).reason, 'deleted')
      assert.equal((await world.get('aries.test')).status, 404)
      world.site('aries.test', 'two')
      assert.equal(await world.body('aries.test'), 'two')
    })

    it('break: the last good release serves on, and the mended one takes over', async () => {
      await using world = await start()
      world.site('aries.test', 'one')
      assert.equal(await world.body('aries.test'), 'one')
      const refused = world.event('error')
      world.write('aries.test/app/index.js', 'module.exports = {')
      const { serving, version, error } = await refused
      assert.equal((error as VhostError).code, 'ERR_VHOST_LOAD')
      assert.equal(serving?.realPath, world.path('aries.test'))
      assert.notEqual(serving?.version, version)
      assert.equal(await world.body('aries.test'), 'one')
      world.site('aries.test', 'two')
      await eventually(async () => (await world.body('aries.test')) === 'two')
    })
  })

  describe('when an app cannot be loaded', () => {
    it('answers 500 and heals when it is mended', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', 'throw new Error("not today")')
      for (let time = 0; time < 5; time++) assert.equal((await world.get('aries.test')).status, 500)
      assert.equal(world.events('error').length, 1)
      world.site('aries.test', 'mended')
      await eventually(async () => (await world.body('aries.test')) === 'mended')
    })

    it('heals without a change of the version, by time', async () => {
      await using world = await start({ updateInterval: 50 })
      world.write(
        'aries.test/app/index.js',
        `const lib = require('../lib/late'); module.exports = (req, res) => res.end(lib)`,
      )
      assert.equal((await world.get('aries.test')).status, 500)
      world.write('aries.test/lib/late.js', `module.exports = 'late'`)
      await eventually(async () => (await world.body('aries.test')) === 'late')
    })

    it('treats an app folder without an entry as a failure, but not an empty vhost', async () => {
      await using world = await start()
      world.write('aries.test/app/readme.txt', 'nothing to run')
      world.write('taurus.test/.keep', '')
      assert.equal((await world.get('aries.test')).status, 500)
      assert.match(String((world.errors[0] as Error).message), /no entry module/)
      assert.equal((await world.get('taurus.test')).status, 404)
    })

    it('answers 503 with Retry-After when the load takes too long, and leaves other vhosts alone', async () => {
      await using world = await start({ loadTimeout: isHere ? 100 : 1000 })
      // An app in a process of its own would end if it had nothing left to wait for.
      const holds = isHere ? '' : 'setInterval(() => {}, 1000);'
      world.write('aries.test/app/index.mjs', `${holds} await new Promise(() => {})`)
      world.site('taurus.test', 'taurus')
      const slow = world.get('aries.test')
      assert.equal(await world.body('taurus.test'), 'taurus')
      const { status, headers } = await slow
      assert.equal(status, 503)
      assert.equal(headers['retry-after'], '1')
      assert.equal((world.errors[0] as VhostError).code, 'ERR_VHOST_LOAD_TIMEOUT')
    })
  })

  describe('under load', () => {
    const flips = isHere ? 50 : 20
    it(`sees each of ${flips} flips with no failed request and no wrong host`, async () => {
      await using world = await start()
      for (const release of ['1', '2']) {
        world.write(
          `../releases/${release}/app/index.js`,
          `module.exports = (req, res) => res.end(req.vhost.hostname + ' ${release}')`,
        )
      }
      world.link('aries.test', '../releases/1')
      world.site('taurus.test', 'taurus')
      assert.equal(await world.body('aries.test'), 'aries.test 1')
      const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
      let isRunning = true
      let answered = 0
      const wrong: string[] = []
      const clients = Array.from({ length: 16 }, async (_, client) => {
        const host = client % 4 === 0 ? 'taurus.test' : 'aries.test'
        while (isRunning) {
          const { status, body } = await world.get(host, '/', { agent })
          answered++
          const isRight = host === 'taurus.test' ? body === 'taurus' : /^aries\.test [12]$/.test(body)
          if (status !== 200 || !isRight) wrong.push(`${host}: ${status} ${body}`)
        }
      })
      let seen = 0
      for (let flip = 1; flip <= flips; flip++) {
        const release = flip % 2 === 0 ? '1' : '2'
        world.link('aries.test', `../releases/${release}`)
        await eventually(async () => (await world.body('aries.test')) === `aries.test ${release}`)
        seen++
      }
      isRunning = false
      await Promise.all(clients)
      agent.destroy()
      assert.deepEqual(wrong, [])
      assert.equal(seen, flips)
      assert.ok(answered > 10 * flips, `${answered} answers`)
      assert.equal(await world.body('aries.test'), 'aries.test 1')
    })

    it('gives no answer from the wrong host while many cold vhosts load under 32 clients', async () => {
      await using world = await start()
      const hosts = Array.from({ length: isHere ? 100 : 20 }, (_, index) => `site-${index}.test`)
      for (const [index, host] of hosts.entries()) {
        const isModule = index % 2 === 1
        world.write(`${host}/app/package.json`, JSON.stringify({ type: isModule ? 'module' : 'commonjs' }))
        world.write(
          `${host}/app/dep.js`,
          isModule ? `export default '${host}'` : `module.exports = '${host}'`,
        )
        world.write(
          `${host}/app/index.js`,
          isModule
            ? `import dep from './dep.js'; export default (req, res) => res.end(dep)`
            : `const dep = require('./dep'); module.exports = (req, res) => res.end(dep)`,
        )
      }
      const agent = new http.Agent({ keepAlive: true, maxSockets: 32 })
      const wrong: string[] = []
      let answered = 0
      await Promise.all(
        Array.from({ length: 32 }, async (_, client) => {
          for (let round = 0; round < 150; round++) {
            const host = hosts[(client * 31 + round * 7) % hosts.length] as string
            const { status, body } = await world.get(host, '/', { agent })
            answered++
            if (status !== 200 || body !== host) wrong.push(`${host}: ${status} ${body}`)
          }
        }),
      )
      agent.destroy()
      assert.deepEqual(wrong, [])
      assert.equal(answered, 32 * 150)
      assert.equal(world.events('load').length, hosts.length)
    })
  })

  describe('load and reload', () => {
    it('load a vhost ahead, and return what was loaded', async () => {
      await using world = await start()
      world.site('aries.test', 'aries')
      const release = await world.vhosts.load('Aries.test:80')
      assert.equal(release?.realPath, world.path('aries.test'))
      assert.equal(world.events('load').length, 1)
      assert.equal(await world.body('aries.test'), 'aries')
      assert.equal(world.events('load').length, 1)
    })

    it('return undefined if there is no vhost or no app', async () => {
      await using world = await start()
      world.write('leo.test/static/index.html', 'leo')
      for (const hostname of ['nobody.test', 'leo.test']) {
        assert.equal(await world.vhosts.load(hostname), undefined)
        assert.equal(await world.vhosts.reload(hostname), undefined)
      }
    })

    it('reject with a VhostError', async () => {
      await using world = await start()
      world.write('aries.test/app/index.js', 'throw new Error("broken")')
      await assert.rejects(world.vhosts.load('a..b'), { code: 'ERR_VHOST_HOST' })
      await assert.rejects(world.vhosts.load('aries.test'), { code: 'ERR_VHOST_LOAD' })
      await assert.rejects(world.vhosts.reload('aries.test'), { code: 'ERR_VHOST_LOAD' })
    })

    if (isHere)
      it('reload an ES module app that was evicted, although nothing has changed', async () => {
        await using world = await start({ maxApps: 1 })
        world.write(
          'aries.test/app/index.mjs',
          'const at = process.hrtime.bigint(); export default (req, res) => res.end(String(at))',
        )
        world.site('taurus.test', 'taurus')
        const first = await world.body('aries.test')
        await world.body('taurus.test')
        assert.equal(await world.body('aries.test'), first)
        await world.body('taurus.test')
        await world.vhosts.reload('aries.test')
        assert.notEqual(await world.body('aries.test'), first)
      })

    it('reload an unchanged release, for all of its names', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `const at = process.hrtime.bigint(); module.exports = (req, res) => res.end(String(at))`,
      )
      world.link('www.aries.test', 'aries.test')
      const before = await world.body('aries.test')
      assert.equal(await world.body('www.aries.test'), before)
      const evicted = world.event('evict')
      await world.vhosts.reload('www.aries.test')
      const after = await world.body('aries.test')
      assert.notEqual(after, before)
      assert.equal(await world.body('www.aries.test'), after)
      assert.equal((await evicted).reason, 'reloaded')
    })
  })

  describe('close', () => {
    it('refuses new requests, lets those in flight end, disposes, and does so once', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => { res.write('begun '); setTimeout(() => res.end('ended'), 100) }
         module.exports.close = () => require('fs').appendFileSync('${world.path('closed')}', 'x')`,
      )
      await world.vhosts.load('aries.test')
      const slow = world.get('aries.test')
      await eventually(() => world.vhosts.stats().totals.inFlight === 1)
      const closing = world.vhosts.close()
      assert.equal(world.vhosts.close(), closing)
      const refused = await world.get('aries.test')
      assert.equal(refused.status, 503)
      assert.equal(refused.headers['retry-after'], '1')
      assert.equal((await slow).body, 'begun ended')
      await closing
      assert.equal(readFileSync(world.path('closed'), 'utf8'), 'x')
      assert.deepEqual(
        world.events('evict').map(({ reason }) => reason),
        ['closed'],
      )
      await assert.rejects(world.vhosts.load('aries.test'), { code: 'ERR_VHOST_CLOSED' })
      assert.equal((await world.vhosts.why('aries.test')).status, 503)
    })

    it('refuses invalid options, without any effect, and can be called again', async () => {
      await using world = await start()
      world.site('aries.test', 'aries')
      await world.body('aries.test')
      const bad = [
        null,
        5,
        [],
        ...[Number.POSITIVE_INFINITY, Number.NaN, -1, 2 ** 31, '5', null].map(drainTimeout => ({
          drainTimeout,
        })),
        Object.create({ drainTimeout: Number.POSITIVE_INFINITY }),
      ]
      for (const options of [...bad, { drain: 5 }] as { drainTimeout: number }[])
        await assert.rejects(world.vhosts.close(options), { name: 'TypeError', code: 'ERR_VHOST_OPTION' })
      assert.equal(await world.body('aries.test'), 'aries')
      await world.vhosts.close({ drainTimeout: 0 })
      assert.equal((await world.get('aries.test')).status, 503)
    })

    it('settles, like a load, if nothing else keeps the process alive', async () => {
      const { code, output, errors } = await runChild(`
        import { World } from 'support/world.js'
        const world = await World.start({ loadTimeout: 200 })
        for (const host of ['aries.test', 'taurus.test']) {
          world.write(host + '/app/index.mjs', 'await new Promise(() => {})')
        }
        world.server.close()
        await world.vhosts.load('aries.test').catch(error => console.log(error.code))
        world.vhosts.load('taurus.test').catch(error => console.log(error.code))
        await world.vhosts.close({ drainTimeout: 50 })
        console.log('closed')
      `)
      assert.deepEqual([code, errors], [0, ''])
      assert.deepEqual(output.trim().split('\n').sort(), [
        'ERR_VHOST_CLOSED',
        'ERR_VHOST_LOAD_TIMEOUT',
        'closed',
      ])
    })

    it('waits for a load in progress and disposes its app', async () => {
      await using world = await start()
      world.write(
        'aries.test/app/index.mjs',
        `import { appendFileSync, existsSync } from 'node:fs'
         while (!existsSync('${world.path('go')}')) await new Promise(resolve => setTimeout(resolve, 5))
         export default (req, res) => res.end('too late')
         export const close = () => appendFileSync('${world.path('closed')}', 'x')`,
      )
      const answer = world.get('aries.test')
      await eventually(
        async () => ((await world.vhosts.why('aries.test')) as VhostExplanation).state === 'loading',
      )
      const closed = world.vhosts[Symbol.asyncDispose]()
      world.write('go', '')
      await closed
      assert.equal((await answer).status, 503)
      assert.equal(readFileSync(world.path('closed'), 'utf8'), 'x')
    })
  })
}

async function statusAndBody(world: World, host: string): Promise<[number, string]> {
  const { status, body } = await world.get(host)
  return [status, body]
}
