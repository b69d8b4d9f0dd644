import assert from 'node:assert/strict'
import {
  type BigIntStats,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { resolveOptions, type VhostRouterOptions } from '../lib/options.ts'
import { isSameRelease, isUnchanged, type ReadRelease, readRelease } from '../lib/release.ts'
import { locateVhost } from '../lib/vhost-path.ts'
import { FsCalls, PatchedFs } from './support/patched-fs.ts'
import { eventually, World } from './support/world.ts'

const SECOND = 1_000_000_000n

let base: string

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-release-')))
  write('aries.test/app/index.js', 'module.exports = 1')
  write('aries.test/app/lib/answer.js', 'module.exports = 2')
  write('aries.test/app/readme.txt', 'about')
})

afterEach(() => rmSync(base, { recursive: true, force: true }))

function at(...parts: string[]): string {
  return join(base, 'aries.test', ...parts)
}

function write(file: string, content: string): void {
  mkdirSync(dirname(join(base, file)), { recursive: true })
  writeFileSync(join(base, file), content)
}

function touch(path: string, time = new Date()): void {
  utimesSync(path, time, time)
}

async function read(
  options: VhostRouterOptions = {},
  before?: ReadRelease,
): Promise<ReadRelease | undefined> {
  const settings = resolveOptions({ basePath: base, ...options })
  const location = await locateVhost('aries.test', settings)
  return location && (await readRelease(location, settings, before))
}

async function isAsRead(before: ReadRelease | undefined, options: VhostRouterOptions = {}): Promise<boolean> {
  assert.ok(before)
  return await isUnchanged(before, at(), resolveOptions({ basePath: base, ...options }))
}

describe('readRelease', () => {
  it('gives the real path, the version and the entry', async () => {
    const release = await read()
    assert.equal(release?.realPath, at())
    assert.equal(release?.entry, at('app', 'index.js'))
    assert.equal(typeof release?.version, 'string')
  })

  it('gives the same version as long as nothing changes', async () => {
    const first = await read()
    assert.ok(isSameRelease(first, await read()))
    assert.ok(isSameRelease(first, await read({}, first)), 'with the last reading at hand')
  })

  const changes: [what: string, act: () => void][] = [
    ['the app folder is touched', () => touch(at('app'))],
    ['the app folder is touched to an older time', () => touch(at('app'), new Date(0))],
    ['the mode of the app folder changes', () => chmodSync(at('app'), 0o700)],
    ['a file is added to the app folder', () => write('aries.test/app/more.js', '')],
    ['a file of the app folder is deleted', () => unlinkSync(at('app/readme.txt'))],
    ['the entry is edited in place', () => write('aries.test/app/index.js', 'module.exports = 3')],
    ['another entry comes before it', () => write('aries.test/app/app.js', '')],
    ['the entry is deleted', () => unlinkSync(at('app/index.js'))],
    ['a package.json comes into the release', () => write('aries.test/package.json', '{}')],
    ['a package.json comes into the app folder', () => write('aries.test/app/package.json', '{}')],
    ['tmp/restart.txt is made', () => write('aries.test/tmp/restart.txt', '')],
    ['the app folder is put back, with its times', putBackWithTimes],
    ['another app folder of the same times takes its place', replaceWithTwin],
    ['the release is replaced by a copy of the same times', replaceReleaseWithTwin],
  ]
  for (const [what, act] of changes) {
    it(`gives another version when ${what}`, async () => {
      const before = await read()
      act()
      assert.equal(await isAsRead(before), false, 'with one look')
      assert.notEqual((await read())?.version, before?.version)
      assert.notEqual((await read({}, before))?.version, before?.version, 'with the last reading at hand')
    })
  }

  for (const file of ['package.json', 'app/package.json', 'tmp/restart.txt']) {
    const later: [what: string, act: () => void][] = [
      ['edited in place', () => write(`aries.test/${file}`, '{ }')],
      ['touched', () => touch(at(file))],
      ['edited, and its modification time put back', () => editUnseen(file)],
      ['deleted', () => unlinkSync(at(file))],
    ]
    for (const [how, act] of later) {
      it(`gives another version when ${file} is ${how}`, async () => {
        write(`aries.test/${file}`, '{}')
        const before = await read()
        assert.equal(await isAsRead(before), true)
        act()
        assert.equal(await isAsRead(before), false, 'with one look')
        assert.notEqual((await read({}, before))?.version, before?.version)
      })
    }
  }

  const unseen: [what: string, act: () => void][] = [
    ['a file in lib/ is edited', () => write('aries.test/app/lib/answer.js', 'module.exports = 3')],
    ['a file is added to lib/', () => write('aries.test/app/lib/more.js', '')],
    ['another file of the app folder is edited in place', () => write('aries.test/app/readme.txt', 'more')],
    ['something else is written into tmp/', () => write('aries.test/tmp/cache.txt', '')],
    ['something is written beside the app folder', () => write('aries.test/static/index.html', '')],
    ['the vhost itself is touched', () => touch(at())],
  ]
  for (const [what, act] of unseen) {
    it(`gives the same version when ${what}`, async () => {
      const before = await read()
      act()
      assert.equal(await isAsRead(before), true, 'with one look')
      assert.equal((await read({}, before))?.version, before?.version)
    })
  }

  it('finds another entry when package.json names one', async () => {
    const before = await read()
    write('aries.test/app/main.js', '')
    write('aries.test/app/package.json', '{ "main": "main.js" }')
    assert.equal((await read({}, before))?.entry, at('app/main.js'))
  })

  it('finds a main that is created later although nothing else changes', async () => {
    write('aries.test/app/package.json', '{ "main": "dist/main.js" }')
    mkdirSync(at('app/dist'))
    const before = await read()
    assert.equal(before?.entry, at('app/index.js'))
    assert.equal((await read({}, before))?.version, before?.version)
    write('aries.test/app/dist/main.js', '')
    const after = await read({}, before)
    assert.equal(after?.entry, at('app/dist/main.js'))
    assert.notEqual(after?.version, before?.version)
    unlinkSync(at('app/dist/main.js'))
    assert.equal((await read({}, after))?.entry, at('app/index.js'))
  })

  it('finds an entry that is created later in a folder below although nothing else changes', async () => {
    const options = { moduleName: 'src/main' }
    mkdirSync(at('app/src'))
    const before = await read(options)
    assert.equal(before?.entry, undefined)
    assert.equal((await read(options, before))?.version, before?.version)
    write('aries.test/app/src/main.js', '')
    const after = await read(options, before)
    assert.equal(after?.entry, at('app/src/main.js'))
    assert.notEqual(after?.version, before?.version)
  })

  it('sees an edit of an entry in a folder below', async () => {
    write('aries.test/app/dist/main.js', '1')
    write('aries.test/app/package.json', '{ "main": "dist/main.js" }')
    const before = await read()
    assert.equal(before?.entry, at('app/dist/main.js'))
    write('aries.test/app/dist/main.js', '2')
    assert.notEqual((await read({}, before))?.version, before?.version)
  })

  it('sees an edit of the file that a linked entry leads to', async () => {
    write('aries.test/build/1.js', '1')
    unlinkSync(at('app/index.js'))
    symlinkSync('../build/1.js', at('app/index.js'))
    const before = await read()
    write('aries.test/build/1.js', '2')
    assert.notEqual((await read({}, before))?.version, before?.version)
  })

  it('gives another release if a link leads elsewhere', async () => {
    renameSync(at(), join(base, 'r1'))
    write('r2/app/index.js', '')
    symlinkSync('r1', at())
    const before = await read()
    unlinkSync(at())
    symlinkSync('r2', at())
    assert.equal(await isAsRead(before), false, 'with one look')
    const after = await read({}, before)
    assert.equal(after?.realPath, join(base, 'r2'))
    assert.equal(isSameRelease(before, after), false)
  })

  const gone: [what: string, act: () => void, options?: VhostRouterOptions][] = [
    ['there is no app folder', () => rmSync(at('app'), { recursive: true })],
    ['the app folder is a file', replaceAppWithFile],
    ['the app folder is a link to nowhere', () => replaceAppWithLink('nowhere')],
    ['the app folder is a link to itself', () => replaceAppWithLink('app')],
    [
      'there is no app folder, and a getVersion',
      () => rmSync(at('app'), { recursive: true }),
      { getVersion: () => 1 },
    ],
    ['the vhost is the app folder and empty', emptyVhost, { appDir: '.' }],
  ]
  for (const [what, act, options] of gone) {
    it(`gives undefined if ${what}`, async () => {
      const before = await read(options?.appDir === '.' ? {} : options)
      act()
      assert.equal(await isAsRead(before), false, 'with one look')
      assert.equal(await read(options), undefined)
    })
  }

  it('gives a release without an entry if the app folder has none: that is no deletion', async () => {
    rmSync(at('app'), { recursive: true })
    mkdirSync(at('app'))
    const release = await read()
    assert.notEqual(release, undefined)
    assert.equal(release?.entry, undefined)
  })

  it('accepts the vhost itself as the app folder', async () => {
    write('aries.test/server.js', '')
    const before = await read({ appDir: '.' })
    assert.equal(before?.entry, at('server.js'))
    write('aries.test/package.json', '{}')
    assert.notEqual((await read({ appDir: '.' }, before))?.version, before?.version)
  })

  it('takes a vhost that is its own app folder for no app if it is empty, but not if it merely has no entry', async () => {
    rmSync(at('app'), { recursive: true })
    assert.equal(await read({ appDir: '.' }), undefined)
    write('aries.test/readme.txt', '')
    const release = await read({ appDir: '.' })
    assert.deepEqual([release?.realPath, release?.entry], [at(), undefined])
  })

  it('takes an app folder that is empty for a release without an entry', async () => {
    rmSync(at('app/index.js'))
    assert.equal((await read())?.realPath, at())
  })

  it('looks for the entry again only if it may be another one', async () => {
    write('aries.test/app/package.json', '{}')
    const before = await read()
    using calls = new FsCalls()
    await read({}, before)
    const looked = [
      at('app'),
      at('app/package.json'),
      at('package.json'),
      at('tmp/restart.txt'),
      at('app/index.js'),
    ]
    // The first three are those of `locateVhost`.
    assert.deepEqual(calls.paths, [at(), at(), at(), ...looked])
  })

  it('reads no package.json that does not exist, and looks at the entry once', async () => {
    using calls = new FsCalls()
    await read()
    const looked = [at('app'), at('app/package.json'), at('package.json'), at('tmp/restart.txt')]
    assert.deepEqual(calls.paths, [at(), at(), at(), ...looked, at('app'), at('app/index.js')])
  })

  it('looks once at a package.json shared by vhost and app folder', async () => {
    write('aries.test/index.js', '')
    const before = await read({ appDir: '.' })
    using calls = new FsCalls()
    await read({ appDir: '.' }, before)
    assert.deepEqual(
      calls.paths.filter(path => path === at('package.json')),
      [at('package.json')],
    )
  })

  it('rejects if the disk gives an error that does not mean the folder is gone', async () => {
    const settings = resolveOptions({ basePath: base })
    const location = await locateVhost('aries.test', settings)
    assert.ok(location)
    using _ = new PatchedFs((name, original) => {
      if (name !== 'stat') return undefined
      return (path, options, callback) => {
        if (!callback || !String(path).endsWith('restart.txt')) return original(path, options, callback)
        callback(Object.assign(new Error('i/o error'), { code: 'EIO' }))
      }
    })
    await assert.rejects(readRelease(location, settings), { code: 'EIO' })
  })

  it('rejects if the disk cannot be read', {
    skip: process.getuid?.() === 0 && 'root may read all',
  }, async () => {
    chmodSync(at(), 0)
    await assert.rejects(read(), { code: 'EACCES' })
    chmodSync(at(), 0o755)
  })

  it('rejects if a name is too long', async () => {
    await assert.rejects(read({ moduleName: 'x'.repeat(300) }), { code: 'ENAMETOOLONG' })
  })
})

describe('on a file system with times in whole seconds', () => {
  /** Truncates the times that are read to whole seconds. */
  function wholeSeconds(): PatchedFs {
    return new PatchedFs((name, original) => {
      if (name !== 'stat') return undefined
      return (...values) => {
        const done = values.pop()
        // The variant of node:fs/promises, by which nothing here reads times.
        if (typeof done !== 'function') return original(...values, done)
        return original(...values, (error: Error | null, stats?: BigIntStats) => {
          if (typeof stats?.ctimeNs === 'bigint') {
            for (const time of ['mtimeNs', 'ctimeNs'] as const) stats[time] -= stats[time] % SECOND
          }
          done(error, stats)
        })
      }
    })
  }

  it('gives another version once a second change can no longer have the time of the first', async t => {
    using _ = wholeSeconds()
    const fresh = await read()
    assert.equal(fresh?.entryStamp, undefined)
    assert.equal(await isAsRead(fresh), false)
    const now = Date.now() + 2000
    t.mock.method(Date, 'now', () => now)
    const settled = await read({}, fresh)
    assert.equal(isSameRelease(settled, fresh), false)
    assert.equal(await isAsRead(settled), true)
  })

  it('serves the last of two changes within a second', async () => {
    using _ = wholeSeconds()
    await using world = await World.start({ updateInterval: 50 })
    world.site('aries.test', 'one')
    assert.equal(await world.body('aries.test'), 'one')
    world.site('aries.test', 'two')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
  })
})

describe('getVersion', () => {
  const values: unknown[] = [1, 'one', null, false, Number.NaN, 0n, Symbol.iterator]
  for (const value of values) {
    it(`may return ${String(value)}`, async () => {
      const before = await read({ getVersion: () => value })
      assert.ok(Object.is(before?.version, value))
      assert.ok(isSameRelease(before, await read({ getVersion: () => value })))
      const promised = await read({ getVersion: () => Promise.resolve(value) })
      assert.ok(isSameRelease(before, promised), 'as a promise too')
    })
  }

  it('tells 0 from -0 and an object from its copy, as Object.is does', async () => {
    const release = async (version: unknown) => await read({ getVersion: () => version })
    assert.equal(isSameRelease(await release(0), await release(-0)), false)
    assert.equal(isSameRelease(await release({}), await release({})), false)
  })

  it('is given the real path and the app folder', async () => {
    renameSync(at(), join(base, 'r1'))
    symlinkSync('r1', at())
    let given: unknown[] = []
    await read({
      appDir: 'app',
      getVersion: (...values) => {
        given = values
        return 1
      },
    })
    assert.deepEqual(given, [join(base, 'r1'), 'app'])
  })

  it('means gone with undefined', async () => {
    assert.equal(await read({ getVersion: () => undefined }), undefined)
    assert.equal(await read({ getVersion: async () => undefined }), undefined)
  })

  it('is not asked about a vhost that is its own app folder and is empty: there is no app', async () => {
    rmSync(at('app'), { recursive: true })
    const options = { appDir: '.', getVersion: () => 1 }
    assert.equal(await read(options), undefined)
    write('aries.test/readme.txt', '')
    assert.equal((await read(options))?.version, 1)
  })

  for (const code of ['ENOENT', 'ENOTDIR', 'ELOOP']) {
    it(`means gone with ${code}`, async () => {
      const getVersion = () => {
        throw Object.assign(new Error(code), { code })
      }
      assert.equal(await read({ getVersion }), undefined)
      assert.equal(await read({ getVersion: async () => getVersion() }), undefined)
    })
  }

  for (const code of ['EMFILE', 'EIO', 'EACCES', 'ESTALE', undefined]) {
    it(`does not mean gone with ${code ?? 'an error without a code'}`, async () => {
      const error = Object.assign(new Error('no'), { code })
      const getVersion = () => Promise.reject(error)
      await assert.rejects(read({ getVersion }), error)
    })
  }
})

describe('isUnchanged', () => {
  it('looks once at each place that decides it', async () => {
    const before = await read()
    using calls = new FsCalls()
    assert.equal(await isAsRead(before), true)
    const places = ['app', 'app/index.js', 'app/package.json', 'package.json', 'tmp/restart.txt'].map(place =>
      at(place),
    )
    assert.deepEqual(calls.paths.sort(), [at(), at(), ...places])
  })

  it('first looks at one place only, so that a mount that hangs blocks one thread', async () => {
    const before = await read()
    const asked: string[] = []
    let answer = (): void => {}
    using _ = new PatchedFs((name, original) => (...values) => {
      asked.push(name)
      if (name !== 'realpath.native') return original(...values)
      answer = () => original(...values)
    })
    const isSame = isAsRead(before)
    assert.deepEqual(asked, ['realpath.native'])
    answer()
    assert.equal(await isSame, true)
  })

  it('supports a vhost that is its own app folder', async () => {
    write('aries.test/server.js', '')
    const before = await read({ appDir: '.' })
    assert.equal(await isAsRead(before, { appDir: '.' }), true)
    touch(at())
    assert.equal(await isAsRead(before, { appDir: '.' }), false)
  })

  it('looks for the entry if there is none, or not yet the intended one', async () => {
    write('aries.test/app/package.json', '{ "main": "dist/main.js" }')
    assert.equal(await isAsRead(await read()), false)
    unlinkSync(at('app/index.js'))
    assert.equal(await isAsRead(await read()), false)
  })

  for (const call of ['realpath.native', 'stat']) {
    it(`reads the release again if the disk gives an error: ${call}`, async () => {
      const before = await read()
      using _ = new PatchedFs(name =>
        name !== call
          ? undefined
          : (...values) => values.at(-1)(Object.assign(new Error('i/o error'), { code: 'EIO' })),
      )
      assert.equal(await isAsRead(before), false)
    })
  }
})

describe('isSameRelease', () => {
  it('tells a release from undefined', () => {
    const release = { realPath: '/a', version: undefined }
    assert.deepEqual(
      [
        isSameRelease(undefined, undefined),
        isSameRelease(release, undefined),
        isSameRelease(undefined, release),
      ],
      [true, false, false],
    )
  })

  it('compares real path and version', () => {
    const one = { realPath: '/a', version: 1 }
    assert.equal(isSameRelease(one, { ...one }), true)
    assert.equal(isSameRelease(one, { ...one, version: 2 }), false)
    assert.equal(isSameRelease(one, { ...one, realPath: '/b' }), false)
    assert.equal(isSameRelease(one, undefined), false)
  })
})

function putBackWithTimes(): void {
  const { mtime } = statSync(at('app'))
  write('aries.test/app/index.js.part', 'module.exports = 1')
  renameSync(at('app/index.js.part'), at('app/index.js'))
  touch(at('app'), mtime)
}

function editUnseen(file: string): void {
  const { mtime } = statSync(at(file))
  write(`aries.test/${file}`, '[]')
  touch(at(file), mtime)
}

function replaceWithTwin(): void {
  const { mtime } = statSync(at('app'))
  renameSync(at('app'), join(base, 'old'))
  write('aries.test/app/index.js', 'module.exports = 1')
  touch(at('app'), mtime)
}

function replaceReleaseWithTwin(): void {
  renameSync(at(), join(base, 'old'))
  mkdirSync(at())
  renameSync(join(base, 'old/app'), at('app'))
}

function replaceAppWithFile(): void {
  rmSync(at('app'), { recursive: true })
  write('aries.test/app', '')
}

function replaceAppWithLink(target: string): void {
  rmSync(at('app'), { recursive: true })
  symlinkSync(target, at('app'))
}

function emptyVhost(): void {
  rmSync(at('app'), { recursive: true })
}
