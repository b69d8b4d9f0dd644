import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { VhostEvents } from '../lib/index.ts'
import { resultOfChild } from './support/child.ts'
import { PatchedFs } from './support/patched-fs.ts'
import { eventually, World } from './support/world.ts'

// What a machine does to the router from outside: requests are answered as before, or soon again.

const onUnix = { skip: process.platform === 'win32' && 'Windows has no such thing' }
const onLinux = { skip: process.platform !== 'linux' && 'inotify and ulimit as on Linux' }
const asRoot = { skip: process.getuid?.() !== 0 && 'only root can become another user' }

describe('when no folder can be watched', { concurrency: 1 }, () => {
  for (const code of ['EMFILE', 'ENOSPC']) {
    it(`(${code}) the router serves, sees changes by the poll, and warns at most once`, async () => {
      const warnings: NodeJS.ErrnoException[] = []
      const note = (warning: Error): unknown => warnings.push(warning)
      process.on('warning', note)
      await using world = await World.start({ updateInterval: 50 })
      {
        using _ = new PatchedFs(name => {
          if (name !== 'watch') return undefined
          return () => {
            throw Object.assign(new Error(`${code}: no watch`), { code, syscall: 'watch' })
          }
        })
        await servesAndSeesChanges(world)
      }
      // Watches are available again; nothing has been lost in between.
      await seesChange(world, 'aries.test', 'watched again')
      process.off('warning', note)
      assert.deepEqual(world.events('error'), [])
      const own = warnings.filter(({ code }) => code === 'EXPRESS_VAN_WATCH')
      assert.ok(own.length <= 1, `${own.length} warnings`)
      assert.equal(warnings.length, own.length)
    })
  }

  async function servesAndSeesChanges(world: World): Promise<void> {
    for (const name of ['aries', 'taurus']) world.site(`${name}.test`, name)
    world.site('../releases/1', 'one')
    world.site('../releases/2', 'two')
    world.link('virgo.test', '../releases/1')
    for (const [name, answer] of [
      ['aries', 'aries'],
      ['taurus', 'taurus'],
      ['virgo', 'one'],
    ]) {
      assert.equal(await world.body(`${name}.test`), answer)
    }
    await seesChange(world, 'aries.test', 'changed')
    await seesChange(world, 'aries.test', 'changed again')
    world.link('virgo.test', '../releases/2')
    await eventually(async () => (await world.body('virgo.test')) === 'two')
    world.remove('taurus.test')
    await eventually(async () => (await world.get('taurus.test')).status === 404)
  }
})

describe('when no file can be opened', () => {
  it(
    'what serves goes on, and what is asked for the first time fails until it can be read',
    onLinux,
    async () => {
      const result = await resultOfChild<Record<string, unknown>>(
        `
      import http from 'node:http'
      import { closeSync, openSync, renameSync } from 'node:fs'
      import { eventually, World } from 'support/world.js'
      const world = await World.start({ updateInterval: 50 })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const ask = async host => {
        const { status, body } = await world.get(host, '/', { agent })
        return status + ' ' + body
      }
      for (const name of ['aries', 'taurus', 'gemini', 'virgo']) world.site(name + '.test', name)
      world.write('libra.test/app/index.mjs', 'export default (req, res) => res.end("libra")')
      world.write('aries.test/next.js', 'module.exports = (req, res) => res.end("aries 2")')
      const result = { before: [await ask('aries.test'), await ask('virgo.test')] }
      await world.body('virgo.test')
      const held = []
      // Connections that have just ended return theirs a moment later: those are taken, too.
      for (let failures = 0; failures < 20; ) {
        try {
          held.push(openSync('/dev/null'))
          failures = 0
        } catch (error) {
          result.shortage = error.code
          failures++
          await new Promise(resolve => setTimeout(resolve, 2))
        }
      }
      // A deploy at the worst moment.
      renameSync(world.path('aries.test/next.js'), world.path('aries.test/app/index.js'))
      result.cold = []
      for (const name of ['taurus', 'libra', 'taurus', 'libra']) result.cold.push((await ask(name + '.test')).slice(0, 3))
      result.unknown = (await ask('nobody.test')).slice(0, 3)
      result.during = []
      const end = performance.now() + 500
      while (performance.now() < end) result.during.push(await ask('aries.test'), await ask('virgo.test'))
      result.during = [...new Set(result.during)].sort()
      result.lost = world.events('evict').map(({ reason }) => reason)
      for (const descriptor of held) closeSync(descriptor)
      const start = performance.now()
      for (const name of ['taurus', 'libra', 'gemini']) await eventually(async () => (await ask(name + '.test')) === '200 ' + name)
      await eventually(async () => (await ask('aries.test')) === '200 aries 2')
      result.healedWithinMs = performance.now() - start
      result.errors = world.events('error').length
      agent.destroy()
      await world[Symbol.asyncDispose]()
      console.log(JSON.stringify(result))
      `,
        { before: ['sh', '-c', 'ulimit -n 80 && exec "$@"', 'sh'] },
      )
      assert.deepEqual(result.before, ['200 aries', '200 virgo'])
      assert.equal(result.shortage, 'EMFILE')
      for (const status of result.cold as string[]) assert.match(status, /^50[03]$/)
      assert.equal(result.unknown, '404')
      assert.deepEqual(result.during, ['200 aries', '200 virgo'])
      assert.deepEqual(result.lost, [])
      assert.ok((result.healedWithinMs as number) < 5000, `${result.healedWithinMs} ms`)
      assert.ok((result.errors as number) < 20, `${result.errors} errors were told`)
    },
  )
})

describe('when no file descriptor is left for a process', () => {
  for (const isRunning of [true, false]) {
    const which = isRunning ? 'another one runs' : 'none has run'
    it(`the load of an isolated app fails and the router goes on, if ${which}`, onLinux, async () => {
      const result = await resultOfChild<Record<string, unknown>>(
        `
      import { closeSync, openSync } from 'node:fs'
      import { World } from 'support/world.js'
      const world = new World({ isolation: 'process', watch: false })
      world.site('leo.test', 'leo')
      if (${isRunning}) await world.vhosts.load('leo.test')
      const result = { causes: [], loaded: [] }
      for (let left = 1; left <= 12; left++) {
        const host = left + '.test'
        world.site(host, host)
        const held = []
        try {
          for (;;) held.push(openSync('/dev/null'))
        } catch {}
        for (const descriptor of held.splice(-left)) closeSync(descriptor)
        await world.vhosts.load(host).catch(({ code, cause }) => result.causes.push(code + ': ' + cause))
        for (const descriptor of held) closeSync(descriptor)
        if (await world.vhosts.reload(host)) result.loaded.push(left)
      }
      await world.vhosts.close()
      console.log(JSON.stringify(result))
      process.exit()
      `,
        { before: ['sh', '-c', 'ulimit -n 120 && exec "$@"', 'sh'] },
      )
      assert.deepEqual(
        result.loaded,
        Array.from({ length: 12 }, (_, index) => index + 1),
      )
      const causes = result.causes as string[]
      assert.ok(causes.some(cause => cause.includes('no process can be started: too many open files')))
      for (const cause of causes) assert.match(cause, /^ERR_VHOST_LOAD: .*(?:too many open files|EMFILE)/)
    })
  }
})

describe('when an isolated app has no file descriptor left', () => {
  for (const isolation of ['thread', 'process']) {
    it(`it still reports its figures and goes on working, in a ${isolation}`, onLinux, async () => {
      const told = await resultOfChild<string[]>(
        `
      import { World } from 'support/world.js'
      const world = await World.start({ isolation: '${isolation}', watch: false, updateInterval: 60_000 })
      world.write('leo.test/app/index.js', \`
        const { closeSync, openSync } = require('node:fs')
        module.exports = (req, res) => {
          const held = []
          try {
            for (;;) held.push(openSync('/dev/null'))
          } catch {}
          // Longer than until the next heartbeat.
          setTimeout(() => {
            for (const descriptor of held) closeSync(descriptor)
            res.end('leo ' + held.length)
          }, 1000)
        }
      \`)
      const { status, body } = await world.get('leo.test')
      await world[Symbol.asyncDispose]()
      console.log(JSON.stringify([status, body.slice(0, 4), ...world.told.map(({ event }) => event)]))
      `,
        { before: ['sh', '-c', 'ulimit -n 80 && exec "$@"', 'sh'] },
      )
      assert.deepEqual(told, [200, 'leo ', 'load', 'evict'])
    })
  }
})

describe('when the clock is wrong', { concurrency: 1 }, () => {
  it('and is set back and forth, changes are seen and requests are answered', async t => {
    await using world = await World.start({ updateInterval: 50, idleTimeout: 10_000 })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    let offset = 0
    const now = Date.now
    t.mock.method(Date, 'now', () => now() + offset)
    for (const days of [-3650, 3650, -1, 0]) {
      offset = days * 24 * 3600 * 1000
      // With a file of that day, as the system would make it.
      await seesChange(world, 'aries.test', `${days} days`, new Date(now() + offset))
      world.write('broken.test/app/index.js', `throw new Error('${days}')`)
      assert.equal((await world.get('broken.test')).status, 500)
      world.site('broken.test', 'mended')
      await eventually(async () => (await world.body('broken.test')) === 'mended')
      world.remove('broken.test')
      await eventually(async () => (await world.get('broken.test')).status === 404)
    }
    assert.ok(world.events('load').every(({ durationMs }) => durationMs >= 0 && durationMs < 10_000))
    assert.deepEqual(
      world.events('evict').filter(({ reason }) => reason === 'idle'),
      [],
    )
  })

  const times: [name: string, ...days: string[]][] = [
    ['in the future', '2100-01-01', '2100-01-01', '2099-01-01'],
    ['before 1970', '1960-01-01', '1960-01-01', '1950-01-01'],
    ['that never change', '2001-01-01', '2001-01-01', '2001-01-01'],
  ]
  for (const [name, ...days] of times) {
    for (const watch of [true, false]) {
      it(`and files have times ${name}, changes are seen, ${watch ? 'by events' : 'by looking'}`, async () => {
        await using world = await World.start({ updateInterval: watch ? 60_000 : 50, watch })
        world.site('aries.test', 'first')
        setTimes(world, 'aries.test', new Date(days[0] as string))
        assert.equal(await world.body('aries.test'), 'first')
        for (const [index, day] of days.entries()) {
          await seesChange(world, 'aries.test', `change ${index}`, new Date(day))
        }
        // Nothing goes on being reloaded because its time lies in the future.
        const reloads = world.events('reload').length
        await seesChange(world, 'aries.test', 'last')
        assert.ok(world.events('reload').length - reloads <= 2)
      })
    }
  }
})

describe('when the base path', { concurrency: 1 }, () => {
  for (const [what, make] of [
    ['is missing', () => {}],
    ['is a file', (path: string) => writeFileSync(path, '')],
  ] as const) {
    it(`${what} from the start, that is reported once`, async () => {
      await using world = new World()
      rmSync(world.path(), { recursive: true })
      make(world.path())
      await eventually(() => world.told.length === 1)
      const [{ error, realPath, hostnames }] = world.events('error') as [VhostEvents['error']]
      assert.equal(error.message, 'The app cannot be loaded: basePath is not a folder')
      assert.match(String(error.cause), /^Error: ENO/)
      assert.deepEqual([realPath, hostnames], [world.path(), []])
    })
  }

  it('exists, is not needed, or is made at once, nothing is reported', async () => {
    await using world = await World.start()
    await using own = await World.start({ basePath: '/no such base path', getVhostPath: () => undefined })
    await delay(50)
    assert.deepEqual([...world.told, ...own.told], [])
  })

  for (const watch of [true, false]) {
    const way = watch ? 'with watches' : 'without watches'

    it(`is missing at start, sites are served when it appears, ${way}`, async () => {
      await using world = await World.start({ updateInterval: 50, watch })
      rmSync(world.path(), { recursive: true })
      assert.equal((await world.get('aries.test')).status, 404)
      mkdirSync(world.path('aries.test'), { recursive: true })
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      await seesChange(world, 'aries.test', 'changed')
    })

    it(`is replaced by another folder, what lies there is served and the rest is not, ${way}`, async () => {
      await using world = await World.start({ updateInterval: 50, watch })
      for (const name of ['aries', 'taurus']) {
        world.site(`${name}.test`, name)
        assert.equal(await world.body(`${name}.test`), name)
      }
      world.site('../other/aries.test', 'another aries')
      world.site('../other/virgo.test', 'virgo')
      renameSync(world.path(), world.path('../old'))
      renameSync(world.path('../other'), world.path())
      await eventually(async () => (await world.body('aries.test')) === 'another aries')
      await eventually(async () => (await world.get('taurus.test')).status === 404)
      assert.equal(await world.body('virgo.test'), 'virgo')
      await seesChange(world, 'aries.test', 'changed')
      await seesChange(world, 'virgo.test', 'changed')
      world.link('aries.test.old', 'aries.test')
      renameSync(world.path('aries.test'), world.path('gone'))
      await eventually(async () => (await world.get('aries.test')).status === 404)
    })

    it(`is a link that is flipped, what it leads to is served, ${way}`, async () => {
      await using world = await World.start({ updateInterval: 50, watch })
      rmSync(world.path(), { recursive: true })
      for (const folder of ['one', 'two']) world.site(`../${folder}/aries.test`, folder)
      symlinkSync('one', world.path())
      assert.equal(await world.body('aries.test'), 'one')
      symlinkSync('two', world.path('../next'))
      renameSync(world.path('../next'), world.path())
      await eventually(async () => (await world.body('aries.test')) === 'two')
      assert.equal(realpathSync(world.path()), world.path('../two'))
    })
  }

  it('goes away, what serves goes on, and one error is reported for each site', async () => {
    await using world = await World.start({ updateInterval: 50 })
    for (const name of ['aries', 'taurus']) {
      world.site(`${name}.test`, name)
      await world.body(`${name}.test`)
    }
    renameSync(world.path(), world.path('../away'))
    await eventually(() => world.events('error').length >= 2)
    const end = performance.now() + 600
    while (performance.now() < end) assert.equal(await world.body('aries.test'), 'aries')
    assert.equal((await world.get('virgo.test')).status, 404)
    renameSync(world.path('../away'), world.path())
    await seesChange(world, 'aries.test', 'changed')
    assert.deepEqual(
      world
        .events('error')
        .flatMap(({ hostnames }) => hostnames)
        .sort(),
      ['aries.test', 'taurus.test'],
    )
    assert.deepEqual(
      world.events('evict').map(({ reason }) => reason),
      ['changed'],
    )
  })
})

describe('beside 10,000 vhosts', { concurrency: 1 }, () => {
  it('the first answer comes at once, and events report flips and what appears', async t => {
    await using world = new World({ updateInterval: 60_000 })
    for (let n = 0; n < 10_000; n++) mkdirSync(world.path(`site-${n}.test`, 'app'), { recursive: true })
    for (const n of [0, 5000, 9999]) world.site(`site-${n}.test`, `site ${n}`)
    for (const release of ['1', '2']) world.site(`../releases/${release}`, release)
    world.link('aries.test', '../releases/1')
    const start = performance.now()
    await using other = await World.start({ basePath: world.path(), updateInterval: 60_000 })
    assert.equal(await other.body('site-5000.test'), 'site 5000')
    const first = performance.now() - start
    for (const n of [0, 9999]) assert.equal(await other.body(`site-${n}.test`), `site ${n}`)
    assert.equal(await other.body('aries.test'), '1')
    const seen: number[] = []
    for (let flip = 2; flip <= 11; flip++) {
      const release = flip % 2 === 0 ? '2' : '1'
      const flipped = performance.now()
      world.link('aries.test', `../releases/${release}`)
      await eventually(async () => (await other.body('aries.test')) === release)
      seen.push(performance.now() - flipped)
    }
    world.site('late.test', 'late')
    assert.equal(await other.body('late.test'), 'late')
    seen.sort((one, two) => one - two)
    t.diagnostic(
      `first answer ${first.toFixed(0)} ms; flips seen in ${seen.map(ms => ms.toFixed(0)).join(' ')} ms`,
    )
    assert.ok(first < 2000, `${first} ms`)
    assert.ok((seen[5] as number) < 1000, `${seen[5]} ms`)
  })
})

describe('names', { concurrency: 1 }, () => {
  it('of 1,000 empty vhosts, all asked for, leave nothing behind', async () => {
    await using world = await World.start({ updateInterval: 200 })
    for (let n = 0; n < 1000; n++) mkdirSync(world.path(`site-${n}.test`))
    for (let n = 0; n < 1000; n += 16) {
      const names = Array.from({ length: Math.min(16, 1000 - n) }, (_, index) => `site-${n + index}.test`)
      const answers = await Promise.all(names.map(name => world.get(name)))
      assert.ok(answers.every(({ status }) => status === 404))
    }
    assert.deepEqual([world.told, world.vhosts.stats().totals.hostnames], [[], 0])
  })

  it('of 255 bytes, and hostnames of 253 characters, are served or passed over', onUnix, async () => {
    await using world = await World.start({ updateInterval: 50 })
    const longest = [63, 63, 63, 61].map(length => 'a'.repeat(length)).join('.')
    assert.equal(longest.length, 253)
    mkdirSync(world.path('b'.repeat(255)))
    world.site(longest, 'longest')
    world.link('aries.test', longest)
    assert.equal(await world.body(longest), 'longest')
    assert.equal(await world.body('aries.test'), 'longest')
    assert.equal((await world.get(`${longest}a`)).status, 400)
    assert.equal((await world.get('b'.repeat(255))).status, 400)
    await seesChange(world, longest, 'changed')
    writeFileSync(world.path('c'.repeat(255)), '')
    world.site('../other', 'other')
    world.link('aries.test', '../other')
    await eventually(async () => (await world.body('aries.test')) === 'other')
    assert.deepEqual(world.events('error'), [])
  })

  it('that the pattern makes longer than a file name can be are no vhost', async () => {
    for (const vhostDir of [
      `${'x'.repeat(20)}-%0`,
      [`${'x'.repeat(20)}-%0`, '.default'],
      `${'%0/'.repeat(20)}%0`,
    ]) {
      await using world = await World.start({ vhostDir })
      const longest = [63, 63, 63, 61].map(length => 'a'.repeat(length)).join('.')
      assert.equal((await world.get(longest)).status, 404)
      assert.deepEqual(world.events('error'), [])
    }
  })

  it('that are no UTF-8, or contain line ends and stars, trouble nobody else', onUnix, async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    const strange = [
      Buffer.from([0xff, 0xfe, 0x2e]),
      Buffer.from([0x61, 0x0a, 0x62]),
      Buffer.from('*?[a]{b}!'),
      Buffer.from('\\'),
    ]
    const paths = strange.map(name => Buffer.concat([Buffer.from(`${world.path()}/`), name]))
    mkdirSync(paths[0] as Buffer)
    for (const release of ['1', '2', '3']) world.site(`../releases/${release}`, release)
    world.link('aries.test', '../releases/1')
    assert.equal(await world.body('aries.test'), '1')
    for (const path of paths.slice(1)) mkdirSync(path)
    world.link('aries.test', '../releases/2')
    await eventually(async () => (await world.body('aries.test')) === '2')
    for (const path of paths) {
      writeFileSync(Buffer.concat([path, Buffer.from([0x2f, 0xff])]), '')
      rmSync(path, { recursive: true })
    }
    world.link('aries.test', '../releases/3')
    await eventually(async () => (await world.body('aries.test')) === '3')
    // Inside the app folder, where every name counts.
    mkdirSync(Buffer.concat([Buffer.from(`${world.path('../releases/3/app')}/`), strange[0] as Buffer]))
    await world.event('reload')
    assert.equal(await world.body('aries.test'), '3')
    assert.deepEqual(world.events('error'), [])
  })
})

describe('what is no folder, or is a loop of links', { concurrency: 1 }, () => {
  it('is no vhost: a file, a FIFO, a socket, a device, a loop of links', onUnix, async () => {
    await using world = await World.start({ updateInterval: 50 })
    writeFileSync(world.path('file.test'), '')
    execFileSync('mkfifo', [world.path('fifo.test')])
    const server = createServer().listen(world.path('socket.test'))
    world.link('device.test', '/dev/zero')
    world.link('one.test', 'two.test')
    world.link('two.test', 'one.test')
    world.link('below-file.test', 'file.test/below')
    for (const name of ['file', 'fifo', 'socket', 'device', 'one', 'two', 'below-file']) {
      assert.equal((await world.get(`${name}.test`)).status, 404, name)
      assert.equal((await world.vhosts.why(`${name}.test`)).outcome, 'no vhost', name)
    }
    server.close()
    assert.deepEqual(world.told, [])
  })

  it('is no app if it is in the place of the app folder', onUnix, async () => {
    await using world = await World.start({ updateInterval: 50 })
    for (const name of ['file', 'fifo', 'self', 'circle', 'dangling']) mkdirSync(world.path(`${name}.test`))
    writeFileSync(world.path('file.test/app'), '')
    execFileSync('mkfifo', [world.path('fifo.test/app')])
    symlinkSync('app', world.path('self.test/app'))
    symlinkSync('b', world.path('circle.test/app'))
    symlinkSync('app', world.path('circle.test/b'))
    symlinkSync('nowhere', world.path('dangling.test/app'))
    for (const name of ['file', 'fifo', 'self', 'circle', 'dangling']) {
      assert.equal((await world.get(`${name}.test`)).status, 404, name)
      assert.equal((await world.vhosts.why(`${name}.test`)).outcome, 'no app', name)
    }
    assert.deepEqual(world.told, [])
  })

  it('is no entry: a folder, a FIFO, a link to itself', onUnix, async () => {
    await using world = await World.start({ updateInterval: 50 })
    for (const name of ['folder', 'fifo', 'self'])
      mkdirSync(world.path(`${name}.test/app`), { recursive: true })
    mkdirSync(world.path('folder.test/app/index.js'))
    execFileSync('mkfifo', [world.path('fifo.test/app/index.js')])
    symlinkSync('index.js', world.path('self.test/app/index.js'))
    for (const name of ['folder', 'fifo', 'self']) {
      assert.equal((await world.get(`${name}.test`)).status, 500, name)
      assert.match(String((await world.vhosts.why(`${name}.test`)).error?.message), /no entry module/)
      rmSync(world.path(`${name}.test/app/index.js`), { recursive: true })
      world.site(`${name}.test`, name)
      await eventually(async () => (await world.body(`${name}.test`)) === name)
    }
  })

  it('does not stop the router if it is in the place of package.json or restart.txt', onUnix, async () => {
    const result = await resultOfChild<string[]>(
      `
      import { execFileSync } from 'node:child_process'
      import { mkdirSync } from 'node:fs'
      import { World } from 'support/world.js'
      const world = await World.start({ updateInterval: 50 })
      const result = []
      for (const name of ['aries', 'taurus', 'gemini', 'leo', 'virgo', 'libra']) world.site(name + '.test', name)
      for (const place of ['aries.test/app', 'taurus.test/app', 'gemini.test', 'leo.test']) {
        execFileSync('mkfifo', [world.path(place, 'package.json')])
      }
      mkdirSync(world.path('virgo.test/tmp'))
      execFileSync('mkfifo', [world.path('virgo.test/tmp/restart.txt')])
      for (const name of ['aries', 'taurus', 'gemini', 'leo']) void world.get(name + '.test').catch(() => {})
      for (const name of ['virgo', 'libra']) result.push(await world.body(name + '.test'))
      console.log(JSON.stringify(result))
      process.exit()
      `,
      { limit: 20_000 },
    )
    assert.deepEqual(result, ['virgo', 'libra'])
  })

  it('does no harm inside an app folder', onUnix, async () => {
    await using world = await World.start({ updateInterval: 50 })
    world.site('aries.test', 'aries')
    symlinkSync('.', world.path('aries.test/app/self'))
    symlinkSync('..', world.path('aries.test/app/up'))
    symlinkSync('nowhere', world.path('aries.test/app/dangling'))
    symlinkSync('loop', world.path('aries.test/app/loop'))
    execFileSync('mkfifo', [world.path('aries.test/app/fifo')])
    assert.equal(await world.body('aries.test'), 'aries')
    await seesChange(world, 'aries.test', 'changed')
    symlinkSync('.', world.path('aries.test/app/another'))
    await seesChange(world, 'aries.test', 'changed again')
  })
})

describe('when the router runs as a user who may not read everything', { concurrency: 1 }, () => {
  for (const [what, closed] of [
    ['a vhost', ''],
    ['an app folder', '/app'],
  ] as const)
    it(
      `${what} that it may not enter is no vhost to strangers, and is reported to the operator once`,
      asRoot,
      async () => {
        const result = await asNobody<{ statuses: number[]; told: string[][]; why: string; mended: string }>(`
      world.site('aries.test', 'aries')
      chmodSync(world.path('aries.test${closed}'), 0)
      const statuses = []
      for (let time = 0; time < 5; time++) statuses.push((await world.get('aries.test')).status)
      const told = world.events('error').map(({ hostnames }) => hostnames)
      const { error } = await world.vhosts.why('aries.test')
      chmodSync(world.path('aries.test${closed}'), 0o755)
      return { statuses, told, why: error.cause, mended: await world.body('aries.test') }
    `)
        assert.deepEqual(result.statuses, [404, 404, 404, 404, 404])
        assert.deepEqual(result.told, [['aries.test']])
        assert.match(result.why, /EACCES/)
        assert.equal(result.mended, 'aries')
      },
    )

  for (const [what, path] of [
    ['a package.json', 'package.json'],
    ["an app's package.json", 'app/package.json'],
    ['a folder of restart.txt', 'tmp'],
  ] as const) {
    it(`${what} that it may not read is a fault, not an absence`, asRoot, async () => {
      const result = await asNobody<{ status: number; why: number; path: string; mended: string }>(`
        world.site('aries.test', 'aries')
        for (const file of ['package.json', 'app/package.json']) world.write('aries.test/' + file, '{}')
        world.write('aries.test/tmp/restart.txt', '')
        const closed = world.path('aries.test/${path}')
        chmodSync(closed, 0)
        const { status } = await world.get('aries.test')
        const why = await world.vhosts.why('aries.test')
        chmodSync(closed, 0o755)
        const mended = await eventually(async () => (await world.body('aries.test')) === 'aries').then(() => 'aries')
        return { status, why: why.status, path: why.vhostPath.slice(-10), mended }
      `)
      assert.deepEqual(result, { status: 500, why: 500, path: 'aries.test', mended: 'aries' })
    })
  }

  it('an entry that it may not read is a failure, mended by chmod', asRoot, async () => {
    const result = await asNobody<{ status: number; message: string; told: number }>(`
      world.site('aries.test', 'aries')
      chmodSync(world.path('aries.test/app/index.js'), 0)
      const { status } = await world.get('aries.test')
      const message = world.errors[0].message
      await world.get('aries.test')
      const told = world.events('error').length
      chmodSync(world.path('aries.test/app/index.js'), 0o644)
      await eventually(async () => (await world.body('aries.test')) === 'aries')
      return { status, message, told }
    `)
    assert.deepEqual([result.status, result.told], [500, 1])
    assert.doesNotMatch(result.message, /\//)
  })

  for (const part of ['', '/app', '/app/index.js']) {
    it(
      `what serves goes on while aries.test${part} cannot be read, and changes are seen again`,
      asRoot,
      async () => {
        const result = await asNobody<{ bodies: string[]; evicted: number; told: number }>(`
        world.site('aries.test', 'aries')
        const bodies = [await world.body('aries.test')]
        chmodSync(world.path('aries.test${part}'), 0)
        await eventually(() => world.events('error').length > 0)
        const end = performance.now() + 500
        while (performance.now() < end) bodies.push(await world.body('aries.test'))
        const told = world.events('error').length
        chmodSync(world.path('aries.test${part}'), 0o755)
        world.site('aries.test', 'changed')
        await eventually(async () => (await world.body('aries.test')) === 'changed')
        const evicted = world.events('evict').filter(({ reason }) => reason !== 'changed').length
        return { bodies: [...new Set(bodies)], evicted, told }
      `)
        assert.deepEqual(result.bodies, ['aries'])
        assert.equal(result.evicted, 0)
        assert.ok(result.told <= 2, `${result.told} errors`)
      },
    )
  }

  it(
    'a base path that it may not enter is not reported again for each name that is asked for',
    asRoot,
    async () => {
      const result = await asNobody<{ statuses: number[]; told: number; mended: string }>(`
      world.site('aries.test', 'aries')
      chmodSync(world.path(), 0)
      const statuses = new Set()
      for (let n = 0; n < 200; n++) statuses.add((await world.get('stranger-' + n + '.test')).status)
      const told = world.events('error').length
      chmodSync(world.path(), 0o755)
      return { statuses: [...statuses], told, mended: await world.body('aries.test') }
    `)
      assert.deepEqual(result.statuses, [404])
      assert.equal(result.mended, 'aries')
      assert.ok(result.told >= 1 && result.told < 10, `${result.told} errors for 200 names`)
    },
  )
})

/** Runs a function body as a user other than root, in a world that has already loaded a site. */
async function asNobody<T>(body: string): Promise<T> {
  return await resultOfChild<T>(`
    import { chmodSync, chownSync } from 'node:fs'
    import { eventually, World } from 'support/world.js'
    const world = await World.start({ updateInterval: 50 })
    // Makes the router load, as root, everything of its own that it loads on demand.
    world.site('warm.test', 'warm')
    await world.body('warm.test')
    for (const path of [world.base, world.path()]) chownSync(path, 65534, 65534)
    process.setgroups([])
    process.setgid(65534)
    process.setuid(65534)
    try {
      console.log(JSON.stringify(await (async () => { ${body} })()))
    } finally {
      await world.vhosts.close()
      world.server.closeAllConnections()
      world.server.close()
    }
  `)
}

async function seesChange(world: World, host: string, answer: string, time?: Date): Promise<void> {
  world.site(host, answer)
  if (time) setTimes(world, host, time)
  await eventually(async () => assert.equal(await world.body(host), answer))
}

function setTimes(world: World, host: string, time: Date): void {
  for (const part of ['app/index.js', 'app', '']) utimesSync(join(world.path(host), part), time, time)
}
