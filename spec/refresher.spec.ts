import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import http from 'node:http'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { VhostError, VhostRouterOptions } from '../lib/index.ts'
import { resultOfChild, runChild } from './support/child.ts'
import { Client } from './support/client.ts'
import { FsCalls, PatchedFs } from './support/patched-fs.ts'
import { eventually, World } from './support/world.ts'

const WAYS: [way: string, options: VhostRouterOptions][] = [
  ['by events alone', { updateInterval: 60_000 }],
  ['by looking alone', { updateInterval: 30, watch: false }],
]

function touch(path: string): void {
  utimesSync(path, new Date(), new Date())
}

function serving(world: World, hostname = 'aries.test') {
  return world.vhosts.stats().vhosts.find(({ hostnames }) => hostnames.includes(hostname))
}

/** What `getVersion` says, and how often it was asked. */
class Deployed {
  version = 1
  readings = 0

  readonly getVersion = (): number => {
    this.readings++
    return this.version
  }
}

/** A site that counts its loads, and answers with their number. */
function countingSite(world: World, folder: string): { loads: number } {
  const counter = { loads: 0 }
  const key = `counter of ${world.base} ${folder}`
  ;(globalThis as Record<string, unknown>)[key] = counter
  world.write(
    `${folder}/app/index.js`,
    `const load = ++globalThis[${JSON.stringify(key)}].loads
    require('./lib/check.js')
    module.exports = (req, res) => res.end('load ' + load)`,
  )
  world.write(`${folder}/app/lib/check.js`, '')
  return counter
}

/** A site that needs a file of its own. */
function needySite(world: World, folder = 'aries.test'): void {
  world.write(`${folder}/app/lib/needed.js`, '')
  world.write(
    `${folder}/app/index.js`,
    `require('./lib/needed')\nmodule.exports = (req, res) => res.end('needy')`,
  )
}

/** A place in the code where all who come wait until they are let on. */
class Pause {
  #waiting: (() => void)[] = []
  #isOver = false

  async pass(): Promise<void> {
    if (!this.#isOver) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** Resolves when somebody waits. */
  async reached(): Promise<void> {
    await eventually(() => this.#waiting.length > 0)
  }

  admit(): void {
    for (const goOn of this.#waiting.splice(0)) goOn()
  }

  end(): void {
    this.#isOver = true
    this.admit()
  }
}

/** Releases that each wait for their gate to open while they load, and then answer with their name. */
class Gates {
  readonly #key: string
  readonly #waiting = new Map<string, () => void>()
  readonly #opened = new Set<string>()

  constructor(world: World, releases: string[]) {
    this.#key = `gates of ${world.base}`
    Object.assign(globalThis, { [this.#key]: this })
    for (const release of releases) {
      world.write(
        `releases/${release}/app/index.js`,
        `module.exports = new Promise(resolve => {
          globalThis[${JSON.stringify(this.#key)}].arrive('${release}', () => resolve((req, res) => res.end('${release}')))
        })`,
      )
    }
  }

  arrive(release: string, pass: () => void): void {
    if (this.#opened.has(release)) pass()
    this.#waiting.set(release, pass)
  }

  async reached(release: string): Promise<void> {
    await eventually(() => this.#waiting.has(release))
  }

  isReached(release: string): boolean {
    return this.#waiting.has(release)
  }

  open(release: string): void {
    this.#opened.add(release)
    this.#waiting.get(release)?.()
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(globalThis, this.#key)
  }
}

async function evicted(world: World, release: string): Promise<void> {
  await eventually(
    () => world.events('evict').some(({ realPath }) => realPath.endsWith(`/${release}`)),
    70_000,
  )
}

describe('what is gone', { concurrency: 4 }, () => {
  for (const [way, options] of WAYS) {
    it(`counts as gone when its absence is seen twice, 250 ms apart, ${way}`, async () => {
      await using world = await World.start(options)
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      const start = performance.now()
      world.remove('aries.test')
      await eventually(async () => {
        const before = performance.now()
        if ((await world.get('aries.test')).status === 200) return false
        assert.ok(before - start > 200, `after ${before - start} ms`)
        return true
      })
      await eventually(() => world.events('evict').length === 1)
      assert.deepEqual(
        world.events('evict').map(({ reason, hostnames }) => [reason, ...hostnames]),
        [['deleted', 'aries.test']],
      )
    })

    it(`is not reported as an error when it is removed file by file, ${way}`, async () => {
      await using world = await World.start(options)
      needySite(world)
      world.site('taurus.test', 'taurus')
      assert.equal(await world.body('aries.test'), 'needy')
      assert.equal(await world.body('taurus.test'), 'taurus')
      for (const part of ['app/lib/needed.js', 'app/index.js', '.']) {
        world.remove(join('aries.test', part))
        if (part === '.') break
        touch(world.path('aries.test/app'))
        await eventually(async () => (await world.vhosts.why('aries.test')).state === 'serving older')
      }
      await eventually(() => world.events('evict').length === 1)
      // An error of aries.test would be held back as long as this one, and would have come earlier.
      world.remove('taurus.test/app/index.js')
      await eventually(() => world.events('error').length > 0)
      assert.deepEqual(
        world.events('error').flatMap(({ hostnames }) => hostnames),
        ['taurus.test'],
      )
    })

    it(`is not reported as an error when it is removed after a flip to what loads slowly, ${way}`, async () => {
      await using world = await World.start(options)
      needySite(world, 'releases/one')
      world.site('taurus.test', 'taurus')
      using gates = new Gates(world, ['two'])
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'needy')
      assert.equal(await world.body('taurus.test'), 'taurus')
      world.remove('releases/one/app/lib/needed.js')
      touch(world.path('releases/one/app'))
      await eventually(async () => (await world.vhosts.why('aries.test')).state === 'serving older')
      world.link('aries.test', 'releases/two')
      await gates.reached('two')
      // An error of aries.test would be held back as long as this one, and would have come earlier.
      world.remove('taurus.test/app/index.js')
      await eventually(() => world.events('error').length > 0)
      assert.deepEqual(
        world.events('error').flatMap(({ hostnames }) => hostnames),
        ['taurus.test'],
      )
      gates.open('two')
      await eventually(async () => (await world.body('aries.test')) === 'two')
    })

    it(`does not include a vhost that is away for 100 ms, ${way}`, async () => {
      await using world = await World.start(options)
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      await using client = new Client(world)
      for (let round = 0; round < 3; round++) {
        renameSync(world.path('aries.test'), world.path('.away'))
        await delay(100)
        renameSync(world.path('.away'), world.path('aries.test'))
        // The router must see it again, or both absences would count as one.
        await delay(300)
      }
      assert.deepEqual(await client.stop(), ['aries'])
      assert.deepEqual(
        world.told.map(({ event }) => event),
        ['load'],
      )
      touch(world.path('aries.test/app'))
      await eventually(() => world.events('reload').length === 1)
    })

    it(`does not show the catch-all before it is gone for good, ${way}`, async () => {
      await using world = await World.start({ ...options, vhostDir: ['%0', '.default'] })
      world.site('aries.test', 'aries')
      world.site('.default', 'default')
      assert.equal(await world.body('taurus.test'), 'default')
      assert.equal(await world.body('aries.test'), 'aries')
      await using client = new Client(world)
      renameSync(world.path('aries.test'), world.path('.away'))
      await delay(100)
      renameSync(world.path('.away'), world.path('aries.test'))
      await delay(300)
      assert.deepEqual(world.events('reload'), [])
      world.remove('aries.test')
      await eventually(async () => assert.equal(await world.body('aries.test'), 'default'))
      assert.deepEqual(await client.stop(), ['aries', 'default'])
      await eventually(() => world.events('evict').length === 1)
      assert.equal(await world.body('taurus.test'), 'default')
    })
  }

  it('for a moment while its watches are set up is watched afterwards', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    let looks = 0
    using _ = new PatchedFs((name, lstat) =>
      name !== 'lstat'
        ? undefined
        : (path, ...rest) => {
            if (path !== world.path('aries.test') || looks++ > 0) return lstat(path, ...rest)
            process.nextTick(rest.at(-1), Object.assign(new Error('ENOENT: away'), { code: 'ENOENT' }))
          },
    )
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    // One search for the places looks once; more looks mean another search.
    await eventually(() => looks > 1)
    // This causes an event of the app folder alone, not of the folder around it.
    world.write('aries.test/app/more.js', '')
    await eventually(() => world.events('reload').length === 1)
  })

  it('is overruled by a folder that an earlier pattern finds', async () => {
    await using world = await World.start({ vhostDir: ['%0', '.default'], updateInterval: 30 })
    world.site('.default', 'default')
    assert.equal(await world.body('aries.test'), 'default')
    world.site('.new', 'aries')
    renameSync(world.path('.new'), world.path('aries.test'))
    await eventually(async () => assert.equal(await world.body('aries.test'), 'aries'))
    assert.equal(await world.body('taurus.test'), 'default')
  })

  for (const [pattern, place] of [
    ['%0', 'aries.test'],
    ['%0/current', 'aries.test/current'],
    ['sites/%2/%1', 'sites/test/aries'],
  ] as const) {
    it(`is overruled as soon as ${pattern} finds it, by events alone`, async () => {
      await using world = await World.start({ vhostDir: [pattern, '.default'], updateInterval: 60_000 })
      world.site('.default', 'default')
      for (const host of ['aries.test', 'taurus.test']) assert.equal(await world.body(host), 'default')
      world.site('.new', 'aries')
      mkdirSync(dirname(world.path(place)), { recursive: true })
      renameSync(world.path('.new'), world.path(place))
      await eventually(async () => assert.equal(await world.body('aries.test'), 'aries'))
      assert.equal(await world.body('taurus.test'), 'default')
    })
  }

  it('is overruled through another folder that replaces one above it, by events alone', async () => {
    await using world = await World.start({ vhostDir: ['sites/%2/%1', '.default'], updateInterval: 60_000 })
    world.site('.default', 'default')
    world.site('sites/test/taurus', 'taurus')
    world.site('new/test/aries', 'aries')
    assert.equal(await world.body('aries.test'), 'default')
    // The deletion is seen as soon as the folders on the way are watched.
    assert.equal(await world.body('taurus.test'), 'taurus')
    world.remove('sites/test/taurus')
    await eventually(async () => (await world.body('taurus.test')) === 'default')
    renameSync(world.path('sites'), world.path('old'))
    renameSync(world.path('new'), world.path('sites'))
    await eventually(async () => assert.equal(await world.body('aries.test'), 'aries'))
  })

  it('is overruled by a link that leads to the same release, too', async () => {
    await using world = await World.start({ vhostDir: ['%0', '.any.%2+'], updateInterval: 30 })
    world.write(
      '.any.test/app/index.js',
      'module.exports = ({ vhost }, res) => res.end(vhost.path + " " + vhost[0])',
    )
    assert.equal(await world.body('aries.test'), `${world.path('.any.test')} test`)
    world.link('aries.test', '.any.test')
    await eventually(async () =>
      assert.equal(await world.body('aries.test'), `${world.path('aries.test')} aries.test`),
    )
    assert.equal(world.events('load').length, 1)
    assert.equal(world.events('reload').length, 0)
    world.write('.any.test/app/more.js', '')
    await eventually(() => world.events('reload').length === 1)
  })

  it('is reported by getVersion with undefined', async () => {
    let version: unknown = 1
    await using world = await World.start({ updateInterval: 30, getVersion: () => version })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    version = undefined
    await eventually(() => world.events('evict').length === 1)
    assert.equal((await world.get('aries.test')).status, 404)
    version = 2
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('may lie outside a base path that does not exist', async () => {
    await using world = await World.start({
      basePath: '/no such base path',
      updateInterval: 30,
      getVhostPath: (hostname): string => world.path(hostname),
    })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    world.remove('aries.test')
    await eventually(async () => assert.equal((await world.get('aries.test')).status, 404))
    assert.deepEqual(world.events('error'), [])
  })
})

describe('a missing base path', { concurrency: 4 }, () => {
  for (const [way, options] of WAYS.slice(1)) {
    it(`is a fault, not the deletion of everything, ${way}`, async () => {
      await using world = await World.start(options)
      for (const name of ['aries', 'taurus']) {
        world.site(`${name}.test`, name)
        assert.equal(await world.body(`${name}.test`), name)
      }
      await using client = new Client(world)
      renameSync(world.path(), join(world.base, 'away'))
      await eventually(() => world.events('error').length === 2)
      await delay(600)
      assert.equal(await world.body('taurus.test'), 'taurus')
      renameSync(join(world.base, 'away'), world.path())
      touch(world.path('aries.test/app'))
      await eventually(() => world.events('reload').length === 1)
      assert.deepEqual(await client.stop(), ['aries'])
      assert.deepEqual(
        world.events('evict').map(({ reason }) => reason),
        ['changed'],
      )
      assert.equal(world.events('error').length, 2, 'told once of each')
      for (const { error, realPath, serving: kept } of world.events('error')) {
        assert.equal((error as VhostError).code, 'ERR_VHOST_LOAD')
        assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOENT')
        assert.equal(kept?.realPath, realPath)
      }
    })
  }

  it('may appear later', async () => {
    await using world = await World.start({ updateInterval: 30 })
    world.remove('')
    assert.equal((await world.get('aries.test')).status, 404)
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('may be another folder when it is back', async () => {
    // Only the base path's own interval notices: no watch reports it.
    await using world = await World.start({ updateInterval: 50 })
    world.site('aries.test', 'before')
    world.site('taurus.test', 'before')
    assert.equal(await world.body('aries.test'), 'before')
    assert.equal(await world.body('taurus.test'), 'before')
    world.site('../next/aries.test', 'after')
    renameSync(world.path(), join(world.base, 'old'))
    renameSync(join(world.base, 'next'), world.path())
    await eventually(async () => assert.equal(await world.body('aries.test'), 'after'))
    await eventually(async () => assert.equal((await world.get('taurus.test')).status, 404))
  })

  it('is a fault, too, if its volume is unmounted, until the volume is back', async t => {
    await using world = new World()
    const base = world.path('')
    const other = join(world.base, 'other')
    for (const folder of [base, other]) mkdirSync(folder, { recursive: true })
    const before = ['unshare', '-rm', 'sh', '-c', `mount -t tmpfs none ${base} && exec "$0" "$@"`]
    const { code: canMount } = await runChild('', { before }).catch(() => ({ code: 1 }))
    if (canMount !== 0) return t.skip('nothing can be mounted here')
    const seen = await resultOfChild<unknown>(
      `import { execFileSync } from 'node:child_process'
      import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
      import { once } from 'node:events'
      import { vhostRouter } from 'lib/index.js'
      const base = ${JSON.stringify(base)}
      const other = ${JSON.stringify(other)}
      const site = base + '/aries.test'
      const build = () => {
        mkdirSync(site + '/app', { recursive: true })
        writeFileSync(site + '/app/index.js', 'module.exports = () => {}')
      }
      build()
      const vhosts = vhostRouter({ basePath: base, updateInterval: 10 })
      // The router alone does not keep the process alive.
      const holding = setInterval(() => {}, 1000)
      const evictions = []
      vhosts.on('evict', ({ reason }) => evictions.push(reason))
      await vhosts.load('aries.test')
      execFileSync('umount', [base])
      const [{ error, serving }] = await once(vhosts, 'error')
      const { state } = await vhosts.why('aries.test')
      // Takes the number of the device that is free now, so that the next volume has another one.
      execFileSync('mount', ['-t', 'tmpfs', 'none', other])
      execFileSync('mount', ['-t', 'tmpfs', 'none', base])
      const reloaded = once(vhosts, 'reload')
      build()
      await reloaded
      rmSync(site, { recursive: true })
      while (!evictions.includes('deleted')) await once(vhosts, 'evict')
      await vhosts.close()
      clearInterval(holding)
      console.log(JSON.stringify([error.cause.message, serving !== undefined, state, evictions]))`,
      { before },
    )
    assert.deepEqual(seen, [
      'the base path is empty, and on another volume than it was',
      true,
      'serving older',
      ['changed', 'deleted'],
    ])
  })
})

describe('an error that does not mean gone', { concurrency: 1 }, () => {
  for (const code of ['EMFILE', 'EIO', 'ESTALE', 'EACCES']) {
    for (const call of ['stat', 'realpath.native']) {
      it(`keeps what serves, and is reported once: ${code} of ${call}`, async () => {
        const vhostDir = ['%0', '.default']
        await using world = await World.start({ updateInterval: 20, watch: false, vhostDir })
        world.site('.default', 'never to be seen')
        world.site('aries.test', 'aries')
        assert.equal(await world.body('aries.test'), 'aries')
        await using client = new Client(world)
        for (const round of [1, 2]) {
          let failed = 0
          {
            using _ = failing(call, world.path('aries.test'), code, () => failed++)
            // Longer than the time after which something counts as gone.
            const end = performance.now() + 400
            await eventually(() => failed > 20 && performance.now() > end)
          }
          assert.equal(world.events('error').length, round)
          touch(world.path('aries.test/app'))
          await eventually(() => world.events('reload').length === round)
        }
        assert.deepEqual(await client.stop(), ['aries'])
        for (const { error, serving: kept, hostnames } of world.events('error')) {
          assert.equal((error.cause as NodeJS.ErrnoException).code, code)
          assert.deepEqual(hostnames, ['aries.test'])
          assert.equal(kept?.realPath, world.path('aries.test'))
          assert.doesNotMatch(error.message, /\//, 'no path for clients')
        }
      })
    }
  }

  it('is reported once for each name, however many there are', async () => {
    let reads = 0
    let fault: Error | undefined
    const getVersion = () => {
      reads++
      if (fault) throw fault
      return 1
    }
    const vhostDir = ['%0', '.any.%2+']
    await using world = await World.start({
      updateInterval: 10,
      watch: false,
      maxApps: 200,
      getVersion,
      vhostDir,
    })
    for (let site = 0; site < 11; site++) {
      world.site(`.any.${site}.test`, 'any')
      for (let name = 0; name < 100; name++) await world.vhosts.load(`${name}.${site}.test`)
    }
    fault = new Error('no version')
    const before = reads
    await eventually(() => reads > before + 4 * 1100)
    assert.equal(world.events('error').length, 1100)
  })

  for (const [what, made] of [
    ['EMFILE', { code: 'EMFILE' }],
    ['EIO', { code: 'EIO' }],
    ['no code', {}],
    ['no text', { toString: undefined }],
  ] as const) {
    it(`keeps what serves, and is reported once: ${what} of getVersion`, async () => {
      let reads = 0
      let fault: Error | undefined
      const getVersion = async () => {
        reads++
        if (fault) throw fault
        return 1
      }
      await using world = await World.start({ updateInterval: 10, getVersion })
      world.site('aries.test', 'aries')
      assert.equal(await world.body('aries.test'), 'aries')
      for (const round of [1, 2]) {
        fault = Object.assign(new Error('no version'), made)
        const before = reads
        await eventually(() => reads > before + 20)
        assert.equal(await world.body('aries.test'), 'aries')
        assert.equal(world.events('error').length, round)
        assert.equal(world.events('error').at(-1)?.error.cause, fault)
        fault = undefined
        const again = reads
        await eventually(() => reads > again + 3)
      }
      assert.equal(world.events('reload').length + world.events('evict').length, 0)
    })
  }

  it('may hide a link from the watch, which sees it once the error is over', async () => {
    let readings = 0
    const getVersion = (): number => Math.min(++readings, 1)
    await using world = await World.start({ updateInterval: 60_000, getVersion })
    const key = `fault of ${world.base}`
    const faults: PatchedFs[] = []
    try {
      const begin = (): void => {
        for (const call of ['lstat', 'realpath.native'])
          faults.unshift(failing(call, world.path('aries.test'), 'EIO', () => {}))
      }
      Object.assign(globalThis, { [key]: begin })
      world.write(
        'releases/one/app/index.js',
        `globalThis[${JSON.stringify(key)}]()
        module.exports = (req, res) => res.end('one')`,
      )
      // What is missing would be looked for again, and the link be seen by that.
      world.write('releases/one/tmp/restart.txt', '')
      world.site('releases/two', 'two')
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      await eventually(() => world.events('error').length > 0)
    } finally {
      for (const fault of faults) fault[Symbol.dispose]()
      Reflect.deleteProperty(globalThis, key)
    }
    const before = readings
    mkdirSync(world.path('releases/one/app/more'))
    await eventually(() => readings > before)
    world.link('aries.test', 'releases/two')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
  })

  it('that chmod causes keeps what serves, and chmod mends it', async () => {
    const { story, errors, cold, reloads } = await resultOfChild<{
      story: string[]
      errors: string[]
      cold: number
      reloads: number
    }>(`
      import { chmodSync } from 'node:fs'
      if (process.getuid() === 0) {
        process.setgid(65534)
        process.setuid(65534)
      }
      const { eventually, World } = await import('support/world.js')
      const world = await World.start({ updateInterval: 50 })
      world.site('aries.test', 'aries')
      world.site('taurus.test', 'taurus')
      const story = [await world.body('aries.test')]
      chmodSync(world.path('aries.test/app'), 0)
      await eventually(() => world.events('error').length > 0)
      story.push(await world.body('aries.test'))
      chmodSync(world.path('aries.test'), 0)
      chmodSync(world.path('taurus.test'), 0)
      const cold = (await world.get('taurus.test')).status
      await new Promise(resolve => setTimeout(resolve, 600))
      story.push(await world.body('aries.test'))
      chmodSync(world.path('aries.test'), 0o755)
      chmodSync(world.path('aries.test/app'), 0o755)
      await eventually(() => world.events('reload').length > 0)
      story.push(await world.body('aries.test'))
      chmodSync(world.path('taurus.test'), 0o755)
      story.push(await world.body('taurus.test'))
      const errors = world.events('error').map(({ hostnames, error }) => hostnames + ' ' + error.cause?.code)
      const reloads = world.events('reload').length
      await world[Symbol.asyncDispose]()
      console.log(JSON.stringify({ story, errors, cold, reloads }))
    `)
    assert.deepEqual(story, ['aries', 'aries', 'aries', 'aries', 'taurus'])
    assert.equal(cold, 404, 'kept from strangers as if it were not there')
    assert.equal(reloads, 1)
    assert.ok(errors.every(error => error.endsWith(' EACCES')))
    assert.deepEqual([...new Set(errors)], ['aries.test EACCES', 'taurus.test EACCES'])
  })
})

/** Half as many names again as are remembered for one release, which a wildcard leads to `link`. */
class Crowd {
  readonly names = Array.from({ length: 150 }, (_, name) => `name-${name}.test`)
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** The different answers that all names get when asked at once. */
  async ask(path?: string): Promise<string[]> {
    const answers = await Promise.all(this.names.map(name => this.#world.get(name, path)))
    return [...new Set(answers.map(({ status, body }) => (status === 200 ? body : `${status}`)))]
  }

  get remembered(): readonly string[] {
    return this.#world.vhosts.stats().vhosts.flatMap(({ hostnames }) => hostnames)
  }

  get strangers(): string[] {
    const remembered = new Set(this.remembered)
    return this.names.filter(name => !remembered.has(name))
  }
}

describe('names of a release beyond those that are remembered', { concurrency: 4 }, () => {
  async function start(options: VhostRouterOptions = {}): Promise<{ world: World; crowd: Crowd }> {
    const world = await World.start({ vhostDir: ['%0', '.any'], ...options }, (app, vhosts) =>
      app.use(vhosts.static(), vhosts),
    )
    world.site('releases/r1', 'r1')
    world.link('.any', 'releases/r1')
    const crowd = new Crowd(world)
    assert.deepEqual(await crowd.ask(), ['r1'])
    assert.ok(crowd.strangers.length > 0)
    return { world, crowd }
  }

  for (const [way, options] of WAYS) {
    it(`are served by the last good release if the next does not load, also when the former is deleted, ${way}`, async () => {
      const { world, crowd } = await start(options)
      await using _ = world
      world.write('releases/r2/app/index.js', 'throw new Error("broken")')
      world.link('.any', 'releases/r2')
      assert.deepEqual(await crowd.ask(), ['r1'])
      await eventually(() => world.events('error').length > 0)
      assert.deepEqual(await crowd.ask(), ['r1'])
      const [stranger = ''] = crowd.strangers
      const { state, status } = await world.vhosts.why(stranger)
      assert.deepEqual([state, status], ['serving older', 200])
      world.remove('releases/r1')
      assert.deepEqual(await crowd.ask(), ['r1'])
      world.site('releases/r3', 'r3')
      world.link('.any', 'releases/r3')
      // Each name is led there separately, which takes a while on a busy machine.
      await eventually(async () => assert.deepEqual(await crowd.ask(), ['r3']), 30_000)
    })

    it(`do not wait for a release that loads beside the one that serves, ${way}`, async () => {
      const { world, crowd } = await start(options)
      await using _ = world
      using gates = new Gates(world, ['r2'])
      world.link('.any', 'releases/r2')
      await gates.reached('r2')
      assert.deepEqual(await crowd.ask(), ['r1'])
      gates.open('r2')
      await eventually(async () => assert.deepEqual(await crowd.ask(), ['r2']))
    })

    it(`get the documents of a release that is being loaded if the one before it was deleted, ${way}`, async () => {
      const { world, crowd } = await start(options)
      await using _ = world
      using gates = new Gates(world, ['r2'])
      world.write('releases/r2/static/name.txt', 'document of r2')
      world.link('.any', 'releases/r2')
      await gates.reached('r2')
      world.remove('releases/r1')
      assert.deepEqual(await crowd.ask('/name.txt'), ['document of r2'])
      assert.deepEqual(await crowd.ask(), ['r1'])
    })

    it(`are served while the folder is away for a moment, but not when it is gone, ${way}`, async () => {
      const { world, crowd } = await start(options)
      await using _ = world
      const [stranger = ''] = crowd.strangers
      renameSync(world.path('.any'), world.path('.away'))
      assert.equal(await world.body(stranger), 'r1')
      renameSync(world.path('.away'), world.path('.any'))
      assert.equal(await world.body(stranger), 'r1')
      rmSync(world.path('.any'))
      await eventually(async () => assert.deepEqual(await crowd.ask(), ['404']))
      await eventually(() => world.events('evict').length === 1)
    })
  }

  it('are joined by a name that is loaded ahead once their folder, which was away, is back', async () => {
    await using world = await World.start({ vhostDir: '.any', updateInterval: 30, watch: false })
    const crowd = new Crowd(world)
    for (const release of ['r1', 'r2']) world.site(`releases/${release}`, release)
    world.link('.any', 'releases/r1')
    assert.equal(await world.body('leo.test'), 'r1')
    world.remove('.any')
    let name = 0
    await eventually(async () => {
      const before = crowd.remembered
      await world.body(`other-${name++}.test`)
      assert.deepEqual(crowd.remembered, before)
    })
    world.link('.any', 'releases/r2')
    await world.vhosts.load('aries.test')
    assert.equal(serving(world)?.realPath, world.path('releases/r2'))
  })

  it('are joined by a name whose own folder is deleted, even if the newest release does not load', async () => {
    const { world, crowd } = await start()
    await using _ = world
    world.site('own.test', 'own')
    assert.equal(await world.body('own.test'), 'own')
    world.write('releases/r2/app/index.js', 'throw new Error("broken")')
    world.link('.any', 'releases/r2')
    await world.event('error')
    await using client = new Client(world, 'own.test')
    world.remove('own.test')
    await evicted(world, 'own.test')
    assert.deepEqual(await client.stop(), ['own', 'r1'])
    assert.deepEqual(await crowd.ask(), ['r1'])
  })

  it('do not lead to an app that has ended since static() used it', async () => {
    let pass: (() => void) | undefined
    const world = await World.start({ vhostDir: ['%0', '.any'] }, (app, vhosts) => {
      app.use(vhosts.static())
      app.use(({ url }, _, next) => {
        if (url === '/held') pass = next
        else next()
      })
      app.use(vhosts)
    })
    await using _ = world
    for (const release of ['r1', 'r2']) world.site(`releases/${release}`, release)
    world.link('.any', 'releases/r1')
    const crowd = new Crowd(world)
    await crowd.ask()
    const [stranger = ''] = crowd.strangers
    for (const [change, ended, answer] of [
      [() => world.link('.any', 'releases/r2'), 'r1', 'r2'],
      [() => world.remove('.any'), 'r2', 'nobody serves name-'],
    ] as const) {
      const held = world.body(stranger, '/held')
      await eventually(() => pass !== undefined)
      change()
      await evicted(world, ended)
      pass?.()
      pass = undefined
      assert.ok((await held).startsWith(answer))
    }
    assert.equal(world.events('load').length, 1)
  })

  it('are reloaded by reload(), and get a folder of their own as soon as there is one', async () => {
    const { world, crowd } = await start({ updateInterval: 60_000, watch: false })
    await using _ = world
    const [stranger = '', other = ''] = crowd.strangers
    world.site(stranger, 'own')
    assert.equal(await world.body(stranger), 'own')
    world.site('releases/r1', 'r1 anew')
    await world.vhosts.reload(other)
    for (const name of crowd.names.slice(0, 100).filter(name => name !== stranger)) {
      assert.equal(await world.body(name), 'r1 anew')
    }
  })
})

describe('names of one release', { concurrency: 4 }, () => {
  for (const [way, options] of WAYS) {
    it(`change together, loaded once, ${way}`, async () => {
      await using world = await World.start(options)
      const counter = countingSite(world, 'releases/r1')
      const names = ['aries.test', 'taurus.test', 'virgo.test']
      for (const name of names) world.link(name, 'releases/r1')
      for (const name of names) assert.equal(await world.body(name), 'load 1')
      const reload = world.event('reload')
      touch(world.path('releases/r1/app'))
      assert.deepEqual([...(await reload).hostnames].sort(), names)
      for (const name of names) assert.equal(await world.body(name), 'load 2')
      await eventually(() => world.events('evict').length === 1)
      assert.equal(world.events('evict')[0]?.reason, 'changed')
      assert.equal(counter.loads, 2)
      assert.equal(world.events('reload').length, 1)
    })

    it(`part when one of them is led elsewhere, ${way}`, async () => {
      await using world = await World.start(options)
      world.site('releases/r1', 'r1')
      world.site('releases/r2', 'r2')
      for (const name of ['aries.test', 'taurus.test']) {
        world.link(name, 'releases/r1')
        assert.equal(await world.body(name), 'r1')
      }
      await using client = new Client(world, 'taurus.test')
      const reload = world.event('reload')
      world.link('aries.test', 'releases/r2')
      const { hostnames, realPath, previous } = await reload
      assert.deepEqual(hostnames, ['aries.test'])
      assert.equal(realPath, world.path('releases/r2'))
      assert.equal(previous.realPath, world.path('releases/r1'))
      await eventually(async () => assert.equal(await world.body('aries.test'), 'r2'))
      assert.deepEqual(world.events('evict'), [])

      // The second name follows. No name is left on the old release, and the new one is already loaded.
      world.link('taurus.test', 'releases/r2')
      await eventually(() => world.events('evict').length === 1)
      assert.deepEqual(await client.stop(), ['r1', 'r2'])
      assert.equal(world.events('load').length + world.events('reload').length, 3)
      const [evict] = world.events('evict')
      assert.deepEqual([evict?.reason, evict?.realPath], ['moved', world.path('releases/r1')])
      assert.deepEqual(serving(world)?.hostnames, ['aries.test', 'taurus.test'])
    })

    it(`are gone together when their app is deleted, however often they are asked, ${way}`, async () => {
      await using world = await World.start(options)
      world.site('releases/r1', 'r1')
      for (const name of ['aries.test', 'taurus.test']) world.link(name, 'releases/r1')
      assert.equal(await world.body('aries.test'), 'r1')
      world.remove('releases/r1/app')
      await using aries = new Client(world, 'aries.test')
      // The second is met while the first is looked for, so it would be missed for longer.
      await delay(100)
      await using taurus = new Client(world, 'taurus.test')
      await eventually(() => world.events('evict').length === 1, 5000)
      for (const name of ['aries.test', 'taurus.test']) assert.equal((await world.get(name)).status, 404)
      await Promise.all([aries.stop(), taurus.stop()])
      assert.equal(world.events('load').length, 1)
    })

    it(`follow the target of an alias, ${way}`, async () => {
      await using world = await World.start(options)
      world.site('releases/r1', 'r1')
      world.site('releases/r2', 'r2')
      world.link('aries.test', 'releases/r1')
      world.link('www.aries.test', 'aries.test')
      for (const name of ['aries.test', 'www.aries.test']) assert.equal(await world.body(name), 'r1')
      assert.equal(world.vhosts.stats().vhosts.length, 1)
      world.link('aries.test', 'releases/r2')
      for (const name of ['aries.test', 'www.aries.test']) {
        await eventually(async () => assert.equal(await world.body(name), 'r2'))
      }
      await eventually(() => world.events('evict').length === 1)
      assert.equal(world.events('evict')[0]?.reason, 'moved')
      assert.equal(world.vhosts.stats().vhosts.length, 1)
    })
  }

  it('are served by the app that a request has found, even if it is deleted before the request comes to it', async () => {
    const looks = new Pause()
    const readings = new Pause()
    let isDeleted = false
    let isMissed = false
    await using world = await World.start({
      updateInterval: 10,
      watch: false,
      getVhostPath: async hostname => {
        if (hostname === 'www.aries.test' || !isDeleted) return hostname
        await looks.pass()
        return undefined
      },
      getVersion: async () => {
        if (isMissed) await readings.pass()
        return 1
      },
    })
    world.write(
      'r1/app/index.js',
      `let isClosed = false
      module.exports = (req, res) => res.end(isClosed ? 'closed' : 'open')
      module.exports.close = () => { isClosed = true }`,
    )
    for (const name of ['aries.test', 'www.aries.test']) world.link(name, 'r1')
    assert.equal(await world.body('aries.test'), 'open')
    isDeleted = true
    await looks.reached()
    looks.admit()
    await looks.reached()
    // Now a further hostname of its folder is entered only if that is still there.
    isMissed = true
    const body = world.body('www.aries.test')
    await readings.reached()
    looks.end()
    await eventually(() => world.vhosts.stats().totals.apps === 0)
    readings.end()
    assert.equal(await body, 'open')
    await eventually(() => world.events('evict').length === 1)
    assert.equal(world.events('load').length, 1)
  })

  it('are not affected by other changes beside them', async () => {
    await using world = await World.start({ updateInterval: 20 })
    world.site('releases/r1', 'r1')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    await using client = new Client(world)
    for (let n = 0; n < 200; n++) {
      world.write(`file${n}`, '')
      if (n % 10 === 0) await delay(1)
    }
    world.site('taurus.test', 'taurus')
    assert.equal(await world.body('taurus.test'), 'taurus')
    touch(world.path('taurus.test/app'))
    await eventually(() => world.events('reload').length === 1)
    assert.deepEqual(await client.stop(), ['r1'])
    assert.deepEqual(world.events('reload')[0]?.hostnames, ['taurus.test'])
  })
})

describe('a release that does not load', { concurrency: 4 }, () => {
  it('gives away none of its documents while the one before it serves', async () => {
    await using world = await World.start({ updateInterval: 20 }, (app, vhosts) =>
      app.use(vhosts.static(), vhosts),
    )
    world.site('releases/one', 'one')
    world.write('releases/one/static/name.txt', 'document of one')
    world.link('aries.test', 'releases/one')
    assert.equal(await world.body('aries.test'), 'one')
    world.write('releases/two/app/index.js', 'throw new Error("broken")')
    for (const name of ['name', 'new']) world.write(`releases/two/static/${name}.txt`, 'document of two')
    world.link('aries.test', 'releases/two')
    await eventually(() => world.events('error').length > 0)
    assert.equal(await world.body('aries.test', '/name.txt'), 'document of one')
    assert.equal(await world.body('aries.test', '/new.txt'), 'one')
  })

  for (const [way, options] of WAYS) {
    it(`leaves the last good one serving, and is tried only once while nobody asks, ${way}`, async () => {
      await using world = await World.start(options)
      const counter = countingSite(world, 'aries.test')
      assert.equal(await world.body('aries.test'), 'load 1')
      world.write('aries.test/app/lib/check.js', 'throw new Error("broken")')
      touch(world.path('aries.test/app'))
      await eventually(() => world.events('error').length === 1)
      assert.equal(counter.loads, 2)
      assert.equal(serving(world)?.state, 'serving older')
      await delay(300)
      assert.equal(counter.loads, 2)
      assert.equal(await world.body('aries.test'), 'load 1')

      world.write('aries.test/app/lib/check.js', '')
      touch(world.path('aries.test/app'))
      await eventually(() => world.events('reload').length === 1)
      assert.equal(await world.body('aries.test'), `load ${counter.loads}`)
      assert.equal(serving(world)?.state, 'serving')
    })
  }

  it('because a file is missing is reported once, after the file has been missing for a second', async () => {
    await using world = await World.start()
    needySite(world)
    assert.equal(await world.body('aries.test'), 'needy')
    const start = performance.now()
    world.remove('aries.test/app/lib/needed.js')
    touch(world.path('aries.test/app'))
    await eventually(async () => (await world.vhosts.why('aries.test')).error !== null)
    world.remove('aries.test/app/index.js')
    await using client = new Client(world)
    await eventually(() => world.events('error').length > 0)
    assert.ok(performance.now() - start >= 1000)
    assert.deepEqual(await client.stop(), ['needy'])
    const [{ error, serving } = {}, ...others] = world.events('error')
    assert.match(String(error), /no entry module/)
    assert.equal(serving?.realPath, world.path('aries.test'))
    assert.deepEqual(others, [])
  })

  it('because a file is missing is reported under its names, even if what served was evicted meanwhile', async () => {
    await using world = await World.start({ maxApps: 1 })
    needySite(world)
    world.site('taurus.test', 'taurus')
    assert.equal(await world.body('aries.test'), 'needy')
    world.remove('aries.test/app/lib')
    await eventually(async () => (await world.vhosts.why('aries.test')).error !== null)
    assert.equal(await world.body('taurus.test'), 'taurus')
    await eventually(() => world.events('error').length > 0)
    const [{ hostnames, serving } = {}] = world.events('error')
    assert.deepEqual([hostnames, serving], [['aries.test'], undefined])
  })

  it('heals without a change: after a while, if somebody asks', async () => {
    await using world = await World.start({ updateInterval: 40 })
    const counter = countingSite(world, 'aries.test')
    assert.equal(await world.body('aries.test'), 'load 1')
    world.write('aries.test/app/lib/check.js', 'throw new Error("broken")')
    touch(world.path('aries.test/app'))
    await eventually(() => world.events('error').length === 1)
    world.write('aries.test/app/lib/check.js', '')
    await delay(300)
    assert.equal(counter.loads, 2, 'nobody asked')
    await eventually(async () => assert.notEqual(await world.body('aries.test'), 'load 1'))
    assert.equal(await world.body('aries.test'), 'load 3')
    assert.equal(world.events('error').length, 1)
  })

  it('heals after a flip when its files are mended and the link stays', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    world.site('releases/r1', 'r1')
    world.write('releases/r2/app/index.js', 'module.exports = {')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    world.link('aries.test', 'releases/r2')
    await eventually(() => world.events('error').length === 1)
    await eventually(async () => {
      world.site('releases/r2', 'r2')
      assert.equal(await world.body('aries.test'), 'r2')
    })
    await eventually(() => world.events('evict').length === 1)
    assert.equal(world.events('evict')[0]?.reason, 'moved')
  })

  it('is tried and reported once more if it is deployed once more, though nobody asks', async () => {
    await using world = await World.start({ updateInterval: 50 })
    world.site('releases/r1', 'r1')
    world.write('releases/r2/app/index.js', `require('needed')\nmodule.exports = (req, res) => res.end('r2')`)
    const release = world.path('releases/r1')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    for (let deploy = 1; deploy <= 2; deploy++) {
      world.link('aries.test', 'releases/r2')
      await eventually(() => assert.equal(world.events('error').length, deploy))
      assert.equal(world.events('error').at(-1)?.serving?.realPath, release)
      world.link('aries.test', 'releases/r1')
      await eventually(() => assert.equal(serving(world)?.lastError, null))
    }
    world.write('releases/r2/node_modules/needed/index.js', '')
    world.link('aries.test', 'releases/r2')
    await eventually(() => assert.equal(world.events('reload').length, 1))
    assert.equal(await world.body('aries.test'), 'r2')
  })

  it('is refused no more once getVersion finds the one that serves again', async () => {
    const deployed = new Deployed()
    await using world = await World.start({ updateInterval: 20, getVersion: deployed.getVersion })
    const counter = countingSite(world, 'aries.test')
    assert.equal(await world.body('aries.test'), 'load 1')
    world.write('aries.test/app/lib/check.js', 'throw new Error("broken")')
    for (let deploy = 1; deploy <= 2; deploy++) {
      deployed.version = 2
      await eventually(() => assert.equal(world.events('error').length, deploy))
      assert.equal(serving(world)?.state, 'serving older')
      deployed.version = 1
      await eventually(() => assert.equal(serving(world)?.state, 'serving'))
      // An attempt that had begun before would find version 2 again, and count as one for the next deploy.
      const before = deployed.readings
      await eventually(() => deployed.readings > before + 5)
    }
    assert.equal(counter.loads, 3)
  })

  it('is refused no more if it was taken back while it was being loaded', async () => {
    const deployed = new Deployed()
    await using world = await World.start({ updateInterval: 20, getVersion: deployed.getVersion })
    let fail = (): void => {}
    const loading = new Promise((_, reject) => {
      fail = () => reject(new Error('broken'))
    })
    const loads: unknown[] = [() => {}]
    Object.assign(globalThis, { loadsTakenBack: loads })
    world.write('aries.test/app/index.js', 'module.exports = globalThis.loadsTakenBack.shift()')
    await world.vhosts.load('aries.test')
    loads.push(loading)
    deployed.version = 2
    await eventually(() => assert.equal(loads.length, 0))
    deployed.version = 1
    // Two comparisons, each of which reads the version.
    const before = deployed.readings
    await eventually(() => deployed.readings >= before + 3)
    const refused = world.event('error')
    fail()
    await refused
    await eventually(() => assert.equal(serving(world)?.state, 'serving'))
  })

  it('is tried once more by the first request if the link to it was deleted and is put back', async () => {
    await using world = await World.start({ updateInterval: 1000 })
    world.site('releases/r1', 'r1')
    const counter = countingSite(world, 'releases/r2')
    world.write('releases/r2/app/lib/check.js', 'throw new Error("broken")')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    world.link('aries.test', 'releases/r2')
    await eventually(() => assert.equal(world.events('error').length, 1))
    // Each attempt that requests make doubles the pause before the next one.
    await eventually(async () => {
      await world.body('aries.test')
      assert.equal(counter.loads, 4)
    })
    world.remove('aries.test')
    await eventually(async () => assert.equal((await world.get('aries.test')).status, 404))
    world.write('releases/r2/app/lib/check.js', '')
    world.link('aries.test', 'releases/r2')
    assert.equal(await world.body('aries.test'), 'load 5')
  })

  it('heals by a change if nothing serves', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    world.write('aries.test/app/index.js', 'module.exports = {')
    assert.equal((await world.get('aries.test')).status, 500)
    const load = world.event('load')
    world.site('aries.test', 'aries')
    await load
    assert.equal(await world.body('aries.test'), 'aries')
  })
})

describe('a change', { concurrency: 4 }, () => {
  it('during a load is followed after it: the newest release serves in the end', async () => {
    await using world = await World.start({ updateInterval: 30 })
    const begun: string[] = []
    Object.assign(globalThis, { begunDuringLoad: begun })
    const slow = (answer: string): void =>
      world.write(
        'aries.test/app/index.mjs',
        `globalThis.begunDuringLoad.push('${answer}')
        await new Promise(resolve => setTimeout(resolve, 150))
        export default (req, res) => res.end('${answer}')`,
      )
    slow('first')
    const cold = world.body('aries.test')
    await eventually(() => begun.includes('first'))
    slow('second')
    assert.match(await cold, /first|second/)
    await eventually(async () => assert.equal(await world.body('aries.test'), 'second'))
    slow('third')
    await eventually(() => begun.includes('third'))
    slow('fourth')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'fourth'))
    await eventually(() => world.vhosts.stats().vhosts.length === 1)
  })

  for (const order of [
    ['one', 'two'],
    ['two', 'one'],
  ]) {
    it(`that was read later counts, if ${order.join(' loads before ')}`, async () => {
      await using world = await World.start({ updateInterval: 60_000, watch: false })
      using gates = new Gates(world, ['one', 'two'])
      const answers: Record<string, Promise<string>> = {}
      for (const release of ['one', 'two']) {
        world.link('aries.test', `releases/${release}`)
        answers[release] = world.body('aries.test')
        await gates.reached(release)
      }
      for (const release of order) {
        gates.open(release)
        assert.equal(await answers[release], release)
        if (release === 'two') assert.equal(await world.body('aries.test'), 'two')
      }
      assert.equal(await world.body('aries.test'), 'two')
    })
  }

  for (const isLoading of [false, true]) {
    const when = isLoading ? 'loaded' : 'read'
    it(`that deletes what a first request has just ${when} is followed by that request`, async () => {
      const gate = { isHeld: false, open(): void {} }
      const hold = async (): Promise<void> => {
        gate.isHeld = true
        await new Promise<void>(resolve => {
          gate.open = resolve
        })
      }
      await using world = await World.start({
        updateInterval: 60_000,
        watch: false,
        getVersion: async realPath => {
          if (realPath.endsWith('/1') && !isLoading) await hold()
          return statSync(realPath).mtimeMs
        },
      })
      Object.assign(globalThis, { holdAries: hold })
      const answer = `(req, res) => res.end(req.vhost.realPath.split('/').at(-1))`
      world.write(
        'releases/1/app/index.js',
        `module.exports = globalThis.holdAries().then(() => require('./lib'))`,
      )
      world.write('releases/1/app/lib/index.js', `module.exports = ${answer}`)
      world.write('releases/2/app/index.js', `module.exports = ${answer}`)
      world.link('aries.test', 'releases/1')
      const first = world.get('aries.test')
      await eventually(() => gate.isHeld)
      world.link('aries.test', 'releases/2')
      world.remove('releases/1')
      gate.open()
      const { status, body } = await first
      assert.deepEqual([status, body], [200, '2'])
      assert.equal(await world.body('aries.test'), '2')
    })
  }

  it('to what does not load keeps what another request has meanwhile loaded', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    const gates = new Map<string, () => void>()
    const key = `gates of ${world.base}`
    Object.assign(globalThis, { [key]: gates })
    for (const [release, outcome] of [
      ['good', `resolve((req, res) => res.end(req.vhost.realPath.split('/').at(-1)))`],
      ['bad', `reject(new Error('bad'))`],
    ]) {
      world.write(
        `releases/${release}/app/index.js`,
        `module.exports = new Promise((resolve, reject) => {
          globalThis[${JSON.stringify(key)}].set('${release}', () => ${outcome})
        })`,
      )
    }
    const answers: Record<string, Promise<{ status: number; body: string }>> = {}
    for (const release of ['good', 'bad']) {
      world.link('aries.test', `releases/${release}`)
      answers[release] = world.get('aries.test')
      await eventually(() => gates.has(release))
    }
    for (const release of ['good', 'bad']) {
      gates.get(release)?.()
      const { status, body } = (await answers[release]) ?? {}
      assert.deepEqual([status, body], [200, 'good'], release)
      assert.equal(await world.body('aries.test'), 'good')
    }
    assert.equal(world.events('error').length, 1)
    assert.deepEqual(world.events('evict'), [])
    Reflect.deleteProperty(globalThis, key)
  })

  it('that adds the main, built later, is followed', async () => {
    await using world = await World.start({ updateInterval: 30 })
    world.write('aries.test/app/package.json', '{ "main": "dist/main.js" }')
    world.write('aries.test/app/dist/part.js', '')
    world.site('aries.test', 'not built')
    assert.equal(await world.body('aries.test'), 'not built')
    // Enough to be watched, compared and found complete, if it were not for the main.
    await delay(100)
    world.write('aries.test/app/dist/main.js', `module.exports = (req, res) => res.end('built')`)
    await eventually(async () => assert.equal(await world.body('aries.test'), 'built'))
  })

  it('of a release that the name has left by the time it is loaded is not kept', async () => {
    await using world = await World.start({ updateInterval: 50 })
    let open = (): void => {}
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    Object.assign(globalThis, { gateOfAries: gate })
    world.site('releases/1', 'one')
    world.site('releases/2', 'two')
    world.link('aries.test', 'releases/1')
    assert.equal(await world.body('aries.test'), 'one')
    world.write(
      'releases/1/app/index.js',
      'globalThis.isArriving = true; module.exports = globalThis.gateOfAries.then(() => (req, res) => res.end("late"))',
    )
    await eventually(() => 'isArriving' in globalThis)
    world.link('aries.test', 'releases/2')
    await world.vhosts.reload('aries.test')
    open()
    await eventually(() => {
      const ended = world.events('evict').filter(({ realPath }) => realPath === world.path('releases/1'))
      assert.deepEqual(
        ended.map(({ reason }) => reason),
        ['moved', 'changed'],
      )
    })
    await eventually(() => {
      const serving = world.vhosts.stats().vhosts.map(({ hostnames, realPath }) => [hostnames, realPath])
      assert.deepEqual(serving, [[['aries.test'], world.path('releases/2')]])
    })
    assert.equal(await world.body('aries.test'), 'two')
  })

  it('that is taken back while another name has the release loaded leads nowhere else', async () => {
    await using world = await World.start()
    using gates = new Gates(world, ['two'])
    world.site('releases/one', 'one')
    world.link('aries.test', 'releases/one')
    world.link('next.test', 'releases/two')
    assert.equal(await world.body('aries.test'), 'one')
    const next = world.body('next.test')
    await gates.reached('two')
    world.link('aries.test', 'releases/two')
    await eventually(() => {
      const loading = world.vhosts.stats().vhosts.find(({ state }) => state === 'loading')
      assert.deepEqual(loading?.hostnames, ['next.test', 'aries.test'])
    })
    world.link('aries.test', 'releases/one')
    gates.open('two')
    assert.equal(await next, 'two')
    for (let time = 0; time < 20; time++) assert.equal(await world.body('aries.test'), 'one')
    assert.deepEqual(world.events('evict'), [])
  })

  it('that is taken back while load() loads the release ahead leads nowhere else', async () => {
    // Without getVersion, a quick look shows that nothing has changed.
    for (const options of [{}, { getVersion: () => 1 }]) {
      await using world = await World.start({ ...options, updateInterval: 10, watch: false })
      using gates = new Gates(world, ['two'])
      using calls = new FsCalls()
      world.site('releases/one', 'one')
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      world.link('aries.test', 'releases/two')
      const loaded = world.vhosts.load('aries.test')
      await gates.reached('two')
      world.link('aries.test', 'releases/one')
      calls.paths.length = 0
      await eventually(() => calls.paths.filter(path => path === world.path('aries.test')).length > 20)
      gates.open('two')
      await loaded
      assert.equal(await world.body('aries.test'), 'one')
      await evicted(world, 'two')
      assert.ok(!world.events('reload').some(({ realPath }) => realPath === world.path('releases/one')))
    }
  })

  it('back to a release for only a moment leaves nothing of it loaded', async () => {
    const gate = { isShut: false, isHeld: false, open(): void {} }
    await using world = await World.start({
      watch: false,
      updateInterval: 50,
      getVersion: async realPath => {
        // Holds up whoever reads the second release again to see whether it has settled.
        if (gate.isShut && realPath.endsWith('/2')) {
          gate.isHeld = true
          await new Promise<void>(resolve => {
            gate.open = resolve
          })
        }
        return statSync(realPath).mtimeMs
      },
    })
    world.write('releases/1/app/index.js', 'throw new Error("broken")')
    world.site('releases/2', 'two')
    world.link('aries.test', 'releases/1')
    assert.equal((await world.get('aries.test')).status, 500)
    // The first reading is let through.
    const { version } = await world.vhosts.why('aries.test')
    world.link('aries.test', 'releases/2')
    gate.isShut = true
    await eventually(() => gate.isHeld)
    gate.open()
    gate.isHeld = false
    await eventually(() => gate.isHeld)
    world.link('aries.test', 'releases/1')
    world.site('releases/1', 'one')
    touch(world.path('releases/1'))
    assert.equal(await world.body('aries.test'), 'one')
    assert.notEqual((await world.vhosts.why('aries.test')).version, version)
    world.link('aries.test', 'releases/2')
    gate.isShut = false
    gate.open()
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
    await eventually(() => {
      const loaded = world.vhosts.stats().vhosts.map(({ realPath }) => realPath)
      assert.deepEqual(loaded, [world.path('releases/2')])
    })
  })

  it('is seen while other apps take long to load', async () => {
    await using world = await World.start({ updateInterval: 30, watch: false, loadTimeout: 3000 })
    const names = Array.from({ length: 6 }, (_, n) => `slow${n}.test`)
    for (const name of [...names, 'aries.test']) {
      world.site(name, 'one')
      assert.equal(await world.body(name), 'one')
    }
    for (const name of names)
      world.write(`${name}/app/index.mjs`, 'await new Promise(() => setTimeout(() => {}, 1e6).unref())')
    for (const name of names) rmSync(world.path(name, 'app/index.js'))
    // As many loads as may run at once never end; even so, what is gone is noticed.
    world.remove('aries.test')
    await eventually(async () => assert.equal((await world.get('aries.test')).status, 404))
    for (const name of names) assert.equal(await world.body(name), 'one')
  })

  it('is followed once two readings in a row agree, not before', async () => {
    const readings = [1, 2, 3, 4, 4]
    let isBegun = false
    const getVersion = (): unknown => (isBegun && readings.length > 1 ? readings.shift() : readings[0])
    await using world = await World.start({ updateInterval: 20, getVersion })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    isBegun = true
    const { version, previous } = await world.event('reload')
    assert.deepEqual([previous.version, version], [1, 4])
  })

  it('of a version that differs at every reading is never followed', async () => {
    let reads = 0
    await using world = await World.start({ updateInterval: 10, getVersion: () => ({ read: ++reads }) })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    await eventually(() => reads > 50)
    assert.deepEqual(
      world.told.map(({ event }) => event),
      ['load'],
    )
  })

  it('of what getVhostPath gives is followed, although nothing has changed on disk', async () => {
    let release = 'one'
    await using world = await World.start({ updateInterval: 20, getVhostPath: () => release })
    for (const name of ['one', 'two']) world.site(name, name)
    assert.equal(await world.body('aries.test'), 'one')
    await eventually(() => serving(world)?.state === 'serving')
    release = 'two'
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
    assert.equal(world.events('reload').length, 1)
  })

  it('back from each hostname that waits for the release serves nothing of it', async () => {
    await using world = await World.start({ updateInterval: 20, watch: false })
    using gates = new Gates(world, ['two'])
    world.site('releases/one', 'one')
    const hosts = ['aries.test', 'leo.test']
    for (const host of hosts) {
      world.link(host, 'releases/one')
      assert.equal(await world.body(host), 'one')
    }
    for (const host of hosts) world.link(host, 'releases/two')
    await gates.reached('two')
    await eventually(() => {
      const loading = world.vhosts.stats().vhosts.find(({ state }) => state === 'loading')
      assert.deepEqual(loading?.hostnames.toSorted(), hosts)
    })
    for (const host of hosts) world.link(host, 'releases/one')
    gates.open('two')
    await evicted(world, 'two')
    const ofTwo = world.told.filter(({ realPath }) => realPath === world.path('releases/two'))
    assert.deepEqual(
      ofTwo.map(({ event }) => event),
      ['evict'],
    )
    for (const host of hosts) assert.equal(await world.body(host), 'one')
  })

  it('back and forth within one comparison does not count', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    world.site('releases/r1', 'r1')
    world.site('releases/r2', 'r2')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    for (let n = 0; n < 50; n++) {
      world.link('aries.test', 'releases/r2')
      world.link('aries.test', 'releases/r1')
      if (n % 5 === 0) await delay(2)
    }
    world.link('aries.test', 'releases/r2')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'r2'))
    assert.equal(world.events('error').length, 0)
  })
})

describe('while a release loads', { concurrency: 4 }, () => {
  // A release to which no name leads any more goes after one interval.
  for (const [way, options] of [['by events', {}], WAYS[1] as (typeof WAYS)[0]] as typeof WAYS) {
    it(`what is withdrawn meanwhile never serves, ${way}`, async () => {
      await using world = await World.start({ ...options, drainTimeout: 60_000 })
      using gates = new Gates(world, ['two'])
      world.write(
        'releases/one/app/index.js',
        `module.exports = (req, res) => (req.url === '/long' ? res.write('one') : res.end('one'))`,
      )
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      const long = http.get({ port: world.port, path: '/long', headers: { host: 'aries.test' } })
      await once(long, 'response')
      await using client = new Client(world)
      world.link('aries.test', 'releases/two')
      await gates.reached('two')
      world.link('aries.test', 'releases/one')
      gates.open('two')
      await evicted(world, 'two')
      assert.deepEqual(await client.stop(), ['one'])
      world.link('aries.test', 'releases/two')
      await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
      long.destroy()
    })

    it(`a successor of a load that hangs serves, ${way}`, async () => {
      await using world = await World.start(options)
      using gates = new Gates(world, ['two'])
      for (const release of ['one', 'three', 'four']) world.site(`releases/${release}`, release)
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      await using client = new Client(world)
      world.link('aries.test', 'releases/two')
      await gates.reached('two')
      for (const release of ['three', 'four']) {
        world.link('aries.test', `releases/${release}`)
        await eventually(async () => assert.equal(await world.body('aries.test'), release))
      }
      gates.open('two')
      await evicted(world, 'two')
      assert.deepEqual(await client.stop(), ['one', 'three', 'four'])
    })

    it(`the site can be deleted, ${way}`, async () => {
      await using world = await World.start(options)
      using gates = new Gates(world, ['two'])
      world.site('releases/one', 'one')
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      world.link('aries.test', 'releases/two')
      await gates.reached('two')
      world.remove('aries.test')
      await eventually(async () => assert.equal((await world.get('aries.test')).status, 404))
      gates.open('two')
      await evicted(world, 'two')
      assert.equal((await world.get('aries.test')).status, 404)
      assert.equal(world.vhosts.stats().totals.apps, 0)
    })

    it(`a site that did not load before can be deleted, ${way}`, async () => {
      await using world = await World.start(options)
      using gates = new Gates(world, ['two'])
      world.write('releases/one/app/index.js', 'throw new Error("broken")')
      world.link('aries.test', 'releases/one')
      world.site('taurus.test', 'taurus')
      assert.equal((await world.get('aries.test')).status, 500)
      assert.equal(await world.body('taurus.test'), 'taurus')
      world.link('aries.test', 'releases/two')
      await gates.reached('two')
      for (const host of ['aries.test', 'taurus.test']) world.remove(host)
      // What was deleted first is seen no later, although nothing shows it while the load waits.
      await evicted(world, 'taurus.test')
      gates.open('two')
      await evicted(world, 'two')
      assert.equal(world.vhosts.stats().totals.apps, 0)
    })

    it(`what is edited meanwhile is loaded when the load has ended, ${way}`, async () => {
      await using world = await World.start(options)
      using gates = new Gates(world, ['aries'])
      const source = readFileSync(world.path('releases/aries/app/index.js'), 'utf8')
      world.remove('releases/aries')
      world.site('aries.test', 'one')
      assert.equal(await world.body('aries.test'), 'one')
      await using client = new Client(world)
      world.write('aries.test/app/index.js', source)
      await gates.reached('aries')
      world.site('aries.test', 'three')
      await delay(100)
      gates.open('aries')
      await eventually(async () => assert.equal(await world.body('aries.test'), 'three'))
      const story = await client.stop()
      assert.deepEqual([story[0], story.at(-1)], ['one', 'three'])
      assert.ok(story.length <= 3)
    })
  }

  it('and a second one hangs, too, a third waits, so that other sites can be loaded', async () => {
    let looks = 0
    const getVhostPath = (hostname: string): string => {
      looks++
      return hostname
    }
    await using world = await World.start({
      updateInterval: 10,
      watch: false,
      maxConcurrentLoads: 3,
      getVhostPath,
    })
    using gates = new Gates(world, ['two', 'three', 'four'])
    world.site('releases/one', 'one')
    world.site('leo.test', 'leo')
    world.link('aries.test', 'releases/one')
    assert.equal(await world.body('aries.test'), 'one')
    const lookedAt = async (): Promise<void> => {
      const before = looks
      await eventually(() => looks > before + 20)
    }
    for (const release of ['two', 'three']) {
      world.link('aries.test', `releases/${release}`)
      await gates.reached(release)
      // Again and again, it is one release.
      await lookedAt()
    }
    world.link('aries.test', 'releases/four')
    await lookedAt()
    assert.equal(await world.body('leo.test'), 'leo')
    assert.ok(!gates.isReached('four'))
    gates.open('two')
    await gates.reached('four')
    gates.open('four')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'four'))
    gates.open('three')
    await evicted(world, 'three')
    assert.equal(await world.body('aries.test'), 'four')
  })
})

describe('reload()', { concurrency: 4 }, () => {
  it('loads beside what serves, whatever the version says', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    const counter = countingSite(world, 'aries.test')
    assert.equal(await world.body('aries.test'), 'load 1')
    const release = await world.vhosts.reload('aries.test')
    assert.equal(release?.realPath, world.path('aries.test'))
    assert.equal(await world.body('aries.test'), 'load 2')
    await eventually(() => world.events('evict').length === 1)
    assert.equal(world.events('evict')[0]?.reason, 'reloaded')
    assert.equal(counter.loads, 2)
  })

  it('follows a link that has been changed', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    world.site('releases/r1', 'r1')
    world.site('releases/r2', 'r2')
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    world.link('aries.test', 'releases/r2')
    assert.equal((await world.vhosts.reload('aries.test'))?.realPath, world.path('releases/r2'))
    assert.equal(await world.body('aries.test'), 'r2')
  })

  it('leads to the last target of the link, whichever of two loads ends first', async () => {
    for (const order of [
      ['two', 'three'],
      ['three', 'two'],
    ]) {
      await using world = await World.start({ updateInterval: 60_000, watch: false })
      using gates = new Gates(world, ['two', 'three'])
      world.site('releases/one', 'one')
      world.link('aries.test', 'releases/one')
      assert.equal(await world.body('aries.test'), 'one')
      const reloads: Record<string, Promise<unknown>> = {}
      for (const release of ['two', 'three']) {
        world.link('aries.test', `releases/${release}`)
        reloads[release] = world.vhosts.reload('aries.test')
        await gates.reached(release)
      }
      for (const release of order) {
        gates.open(release)
        if (release === 'two') await evicted(world, 'two')
        else await reloads.three
        const isLed = release === 'three' || order[0] === 'three'
        assert.equal(await world.body('aries.test'), isLed ? 'three' : 'one', order.join())
      }
      await reloads.two
      assert.equal(await world.body('aries.test'), 'three', order.join())
      await eventually(() => assert.equal(world.vhosts.stats().totals.draining, 0))
      const reasons = world
        .events('evict')
        .map(({ realPath, reason }) => [realPath.split('/').at(-1), reason])
      assert.ok(reasons.every(([, reason]) => reason === 'moved' || reason === 'reloaded'))
      assert.ok(reasons.some(([release]) => release === 'one'))
    }
  })

  it('loads anew what serves only under another name', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    world.write('aries.test/app/lib.js', `module.exports = 'one'`)
    world.write(
      'aries.test/app/index.js',
      `const text = require('./lib'); module.exports = (req, res) => res.end(text)`,
    )
    world.link('www.aries.test', 'aries.test')
    assert.equal(await world.body('aries.test'), 'one')
    world.write('aries.test/app/lib.js', `module.exports = 'two'`)
    assert.equal((await world.vhosts.reload('www.aries.test'))?.realPath, world.path('aries.test'))
    for (const host of ['aries.test', 'www.aries.test']) assert.equal(await world.body(host), 'two')
    rmSync(world.path('aries.test/app'), { recursive: true })
    assert.equal(await world.vhosts.reload('ftp.aries.test'), undefined)
    world.link('ftp.aries.test', 'aries.test')
    assert.equal(await world.vhosts.reload('ftp.aries.test'), undefined)
  })

  describe('does not take an earlier load for its own:', () => {
    const begin: Record<string, (world: World) => Promise<unknown>> = {
      'a first one': async world => {
        world.link('aries.test', 'releases/slow')
        return await world.body('aries.test')
      },
      'one of what a link leads to now': async world => {
        world.site('releases/before', 'before')
        world.link('aries.test', 'releases/before')
        assert.equal(await world.body('aries.test'), 'before')
        world.link('aries.test', 'releases/slow')
        return await world.vhosts.reload('aries.test')
      },
    }
    for (const [which, beginLoad] of Object.entries(begin)) {
      it(which, async () => {
        await using world = await World.start({ updateInterval: 60_000, watch: false })
        const gates: (() => void)[] = []
        const key = `gates of ${world.base}`
        Object.assign(globalThis, { [key]: gates })
        world.write('releases/slow/app/lib.js', `module.exports = 'one'`)
        world.write(
          'releases/slow/app/index.js',
          `const text = require('./lib')
          module.exports = new Promise(resolve => {
            globalThis[${JSON.stringify(key)}].push(() => resolve((req, res) => res.end(text)))
          })`,
        )
        const begun = beginLoad(world)
        await eventually(() => gates.length === 1)
        world.write('releases/slow/app/lib.js', `module.exports = 'two'`)
        const reloading = world.vhosts.reload('aries.test')
        // These take longer than the reading that reload() does before it meets the load under way.
        for (let time = 0; time < 10; time++) await world.vhosts.lookup('aries.test')
        gates[0]?.()
        await begun
        await eventually(() => gates.length === 2)
        gates[1]?.()
        assert.equal((await reloading)?.realPath, world.path('releases/slow'))
        assert.equal(await world.body('aries.test'), 'two')
        Reflect.deleteProperty(globalThis, key)
      })
    }
  })

  it('does not fail because of an earlier load', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    const gates: (() => void)[] = []
    const key = `gates of ${world.base}`
    Object.assign(globalThis, { [key]: gates })
    world.site('releases/r1', 'r1')
    world.write(
      'releases/r2/app/index.js',
      `module.exports = new Promise((_, reject) => {
        globalThis[${JSON.stringify(key)}].push(() => reject(new Error('broken')))
      })`,
    )
    world.link('aries.test', 'releases/r1')
    world.link('leo.test', 'releases/r2')
    assert.equal(await world.body('aries.test'), 'r1')
    const failing = world.get('leo.test')
    await eventually(() => gates.length === 1)
    world.link('aries.test', 'releases/r2')
    world.site('releases/r2', 'r2')
    const reloading = world.vhosts.reload('aries.test')
    for (let time = 0; time < 10; time++) await world.vhosts.lookup('aries.test')
    gates[0]?.()
    assert.equal((await reloading)?.realPath, world.path('releases/r2'))
    assert.equal(await world.body('aries.test'), 'r2')
    await failing
    Reflect.deleteProperty(globalThis, key)
  })

  it('does not use ES modules that were kept, if a link leads to them again', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false, idleTimeout: 100 })
    world.site('releases/r1', 'r1')
    world.write('releases/r2/app/lib.mjs', `export default 'one'`)
    world.write(
      'releases/r2/app/index.mjs',
      `import text from './lib.mjs'; export default (req, res) => res.end(text)`,
    )
    world.link('leo.test', 'releases/r2')
    assert.equal(await world.body('leo.test'), 'one')
    await eventually(() => world.events('evict').length === 1)
    world.link('aries.test', 'releases/r1')
    await world.vhosts.load('aries.test')
    world.link('aries.test', 'releases/r2')
    world.write('releases/r2/app/lib.mjs', `export default 'two'`)
    await world.vhosts.reload('aries.test')
    assert.equal(await world.body('aries.test'), 'two')
  })

  it('retries at once what failed a moment ago', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    world.site('releases/r1', 'r1')
    world.write('releases/r2/app/lib/check.js', 'throw new Error("broken")')
    world.write(
      'releases/r2/app/index.js',
      'require("./lib/check.js"); module.exports = (_, res) => res.end("r2")',
    )
    world.link('aries.test', 'releases/r1')
    assert.equal(await world.body('aries.test'), 'r1')
    world.link('aries.test', 'releases/r2')
    await assert.rejects(world.vhosts.reload('aries.test'), { code: 'ERR_VHOST_LOAD' })
    assert.equal(await world.body('aries.test'), 'r1')
    world.write('releases/r2/app/lib/check.js', '')
    assert.equal((await world.vhosts.reload('aries.test'))?.realPath, world.path('releases/r2'))
    assert.equal(await world.body('aries.test'), 'r2')
  })

  it('rejects with a VhostError if the disk cannot be read', async () => {
    await using world = await World.start({ updateInterval: 60_000, watch: false })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    {
      using _ = failing('stat', world.path('aries.test'), 'EMFILE', () => {})
      await assert.rejects(world.vhosts.reload('aries.test'), { name: 'VhostError', code: 'ERR_VHOST_LOAD' })
    }
    assert.equal(await world.body('aries.test'), 'aries')
  })
})

/** Makes a function of the file system fail below a path. */
function failing(call: string, below: string, code: string, told: () => void): PatchedFs {
  const fail = (path: string): NodeJS.ErrnoException =>
    Object.assign(new Error(`${code}: no good, ${call} '${path}'`), { code, path })
  return new PatchedFs((name, original) =>
    name !== call
      ? undefined
      : (...values) => {
          const path = String(values[0])
          if (!path.startsWith(below)) return original(...values)
          told()
          const callback = values.at(-1)
          if (typeof callback !== 'function') return Promise.reject(fail(path))
          setImmediate(callback, fail(path))
        },
  )
}

// Alone, as the clock stands still for all.
describe('what has been missing for less than 250 ms', () => {
  it('is not gone, however often it was looked for', async t => {
    let looks = 0
    const getVhostPath = (hostname: string): string => {
      looks++
      return hostname
    }
    await using world = await World.start({ watch: false, updateInterval: 1, getVhostPath })
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
    const now = performance.now()
    t.mock.method(performance, 'now', () => now)
    world.remove('aries.test')
    const before = looks
    await eventually(() => looks > before + 20 || world.events('evict').length > 0)
    assert.equal(await world.body('aries.test'), 'aries')
    assert.deepEqual(world.events('evict'), [])
  })
})
