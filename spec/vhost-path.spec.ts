import assert from 'node:assert/strict'
import { rmSync, symlinkSync } from 'node:fs'
import {
  chmod,
  mkdir,
  mkdtemp,
  realpath,
  rm,
  rmdir,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, parse } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { compileVhostDir } from '../lib/vhost-path/vhost-pattern.ts'
import { locateVhost, type PathSettings, type VhostLocation } from '../lib/vhost-path.ts'
import { FsCalls, PatchedFs } from './support/patched-fs.ts'

describe('locateVhost', () => {
  let root: string
  let basePath: string

  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'vhost-path-')))
    basePath = join(root, 'base')
    await mkdir(basePath)
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  it('gives the folder named for the host, with its identity', async () => {
    const path = await folder('aries.test')
    const { dev, ino } = await stat(path, { bigint: true })
    const before = performance.now()
    const { readAt, ...location } = (await locate('aries.test')) ?? { readAt: -1 }
    assert.ok(before <= readAt && readAt <= performance.now())
    assert.deepEqual(location, {
      vhostPath: path,
      realPath: path,
      identity: `${dev}:${ino}`,
      skipped: 0,
      captures: ['aries.test'],
      isExact: true,
    })
  })

  it('gives undefined if there is no such folder', async () => {
    assert.equal(await locate('aries.test'), undefined)
    assert.equal(await locate('aries.test', ['%0/current', '%0']), undefined)
  })

  it('follows a link to a release beside the base path', async () => {
    const release = join(root, 'releases', '1')
    await mkdir(release, { recursive: true })
    const path = await link('aries.test', release)
    const location = await locate('aries.test')
    assert.equal(location?.vhostPath, path)
    assert.equal(location?.realPath, release)
  })

  it('gives an alias the real path and identity of its target', async () => {
    await folder('aries.test')
    await link('www.aries.test', 'aries.test')
    const [alias, vhost] = [await locate('www.aries.test'), await locate('aries.test')]
    assert.equal(alias?.realPath, vhost?.realPath)
    assert.equal(alias?.identity, vhost?.identity)
    assert.notEqual(alias?.vhostPath, vhost?.vhostPath)
  })

  it('tries patterns in order and counts those it passed over', async () => {
    const patterns = ['%0/current', '%0', '.any.%2+', '.default']
    const paths = [await folder('.default')]
    for (const path of ['.any.test', 'aries.test', 'aries.test/current']) paths.unshift(await folder(path))
    for (const [skipped, path] of paths.entries()) {
      const location = await locate('aries.test', patterns)
      assert.deepEqual([location?.vhostPath, location?.skipped], [path, skipped])
      await rm(path, { recursive: true })
    }
  })

  it('passes over a pattern whose path would not be safe', async () => {
    const path = await folder('.default')
    const location = await locate('ab.git', ['%0.3+', '.default'])
    assert.deepEqual([location?.vhostPath, location?.skipped], [path, 1])
  })

  describe('never falls through to a later pattern from', () => {
    const brokenEntries: [title: string, make: () => Promise<unknown>][] = [
      ['a dangling link', () => link('aries.test', join(root, 'gone'))],
      ['a link to itself', () => link('aries.test', 'aries.test')],
      ['a link to the base path', () => link('aries.test', '.')],
      ['a file', () => writeFile(join(basePath, 'aries.test'), '')],
    ]
    for (const [title, make] of brokenEntries) {
      it(title, async () => {
        await folder('.default')
        await make()
        assert.equal(await locate('aries.test', ['%0', '.default']), undefined)
        assert.equal(await locate('aries.test'), undefined)
      })
    }

    it('a folder below a dangling link', async () => {
      await folder('.default')
      await folder('complete')
      await link('aries.test', 'gone')
      await link('taurus.test', 'complete')
      const locations = ['aries.test', 'taurus.test', 'nobody.test'].map(name =>
        locate(name, ['%0/app/current', '.default']).then(location => location?.skipped),
      )
      assert.deepEqual(await Promise.all(locations), [undefined, 1, 1])
    })

    it('a file or a loop in place of a folder on the way', async () => {
      await folder('.default')
      await writeFile(join(basePath, 'aries.test'), '')
      await link('taurus.test', 'taurus.test')
      assert.equal(await locate('aries.test', ['%0/current', '.default']), undefined)
      assert.equal(await locate('taurus.test', ['%0/current', '.default']), undefined)
    })

    it('a name that is too long for a file name', async () => {
      await folder('.default')
      const hostname = `${'a.'.repeat(126)}a`
      assert.equal(await locate(hostname, ['prefix-%0', '.default']), undefined)
      assert.equal(await locate(hostname, 'prefix-%0'), undefined)
    })

    it('a folder that may not be searched, which is an error instead', {
      skip: cannotBeLockedOut(),
    }, async () => {
      await folder('.default')
      await folder('aries.test/current')
      await chmod(join(basePath, 'aries.test'), 0)
      try {
        for (const vhostDir of ['%0/current', ['%0/current', '.default']]) {
          await assert.rejects(locate('aries.test', vhostDir), { code: 'EACCES' })
        }
      } finally {
        await chmod(join(basePath, 'aries.test'), 0o700)
      }
    })
  })

  it('gives undefined for a link to the base path or a folder above it', async () => {
    await link('aries.test', basePath)
    await link('taurus.test', '..')
    await link('virgo.test', parse(basePath).root)
    for (const hostname of ['aries.test', 'taurus.test', 'virgo.test']) {
      assert.equal(await locate(hostname), undefined, hostname)
    }
  })

  it('finds the same if the base path is a link', async () => {
    const vhost = await folder('aries.test')
    await link('taurus.test', '.')
    await symlink(basePath, join(root, 'www'), 'dir')
    const linked: Partial<PathSettings> = { basePath: join(root, 'www') }
    assert.equal((await locate('aries.test', '%0', linked))?.realPath, vhost)
    assert.equal(await locate('taurus.test', '%0', linked), undefined)
  })

  it('accepts a folder whose name is a prefix of the name of the base path, or the reverse', async () => {
    for (const beside of [`${basePath}-2`, basePath.slice(0, -1)]) {
      await mkdir(beside)
      await link('aries.test', beside)
      assert.equal((await locate('aries.test'))?.realPath, beside)
      await rm(join(basePath, 'aries.test'))
    }
  })

  it('asks no more of the disk than it must', async () => {
    const path = await folder('aries.test')
    await folder('.default')
    const [nobody, other] = [join(basePath, 'nobody.test'), join(basePath, '.default')]
    using calls = new FsCalls()
    await locate('nobody.test')
    assert.deepEqual(calls.paths.splice(0), [nobody])
    await locate('aries.test')
    assert.deepEqual(calls.paths.splice(0), [path, path, path])
    await locate('nobody.test', ['%0', '.default'])
    assert.deepEqual(calls.paths.splice(0), [nobody, other, other, other])
    await locate('nobody.test', ['%0/current', '%0'])
    assert.deepEqual(calls.paths.splice(0), [join(nobody, 'current'), nobody, nobody])
    await locate('nobody.test', ['%0', '%0/current'])
    assert.deepEqual(calls.paths, [nobody, join(nobody, 'current')])
  })

  it('does not look inside a folder that serves other names, but at all that comes before it', async () => {
    const served = { realPath: '/served', identity: '1:2', readAt: 3 }
    const [own, any] = [join(basePath, 'aries.test'), join(basePath, '.any')]
    const find = () =>
      locate('aries.test', ['%0', '.any', '.default'], {
        servedFrom: path => (path === any ? served : undefined),
      })
    using calls = new FsCalls()
    const { vhostPath, realPath, identity, readAt, skipped } = (await find()) as VhostLocation
    assert.deepEqual({ realPath, identity, readAt }, served)
    assert.deepEqual([vhostPath, skipped], [any, 1])
    assert.deepEqual(calls.paths, [own])
    await folder('aries.test')
    assert.equal((await find())?.realPath, own)
  })

  it('saves a look if a name is known to lead somewhere', async () => {
    const path = await folder('aries.test')
    await folder('.default')
    const patterns = (vhostDir: string | string[]): PathSettings => ({
      basePath,
      vhostPatterns: compileVhostDir(vhostDir),
    })
    const [nobody, other] = [join(basePath, 'nobody.test'), join(basePath, '.default')]
    using calls = new FsCalls()
    assert.equal((await locateVhost('aries.test', patterns('%0'), true))?.realPath, path)
    assert.deepEqual(calls.paths.splice(0), [path, path])
    assert.equal((await locateVhost('nobody.test', patterns(['%0', '.default']), true))?.realPath, other)
    assert.deepEqual(calls.paths.splice(0), [nobody, other, other])
    assert.equal(await locateVhost('nobody.test', patterns('%0'), true), undefined)
    assert.deepEqual(calls.paths, [nobody])
  })

  for (const [code, isGone] of [
    ['EIO', false],
    ['EMFILE', false],
    ['ENOENT', true],
    ['ENAMETOOLONG', true],
  ] as const) {
    it(`${isGone ? 'takes it for gone' : 'rejects'} if the real path cannot be found: ${code}`, async () => {
      await folder('aries.test')
      using _ = new PatchedFs(name => {
        if (name !== 'realpath.native') return undefined
        return (_path, callback) => process.nextTick(callback, Object.assign(new Error(code), { code }))
      })
      if (isGone) assert.equal(await locate('aries.test'), undefined)
      else await assert.rejects(locate('aries.test'), { code })
    })
  }

  it('distinguishes folders whose inodes are larger than a safe integer', async () => {
    await folder('aries.test')
    const ino = 2n ** 53n + 1n
    using _ = new PatchedFs((name, original) => {
      if (name !== 'stat') return undefined
      return (path, options, callback) =>
        original(path, options, (error: Error | null, stats: object) =>
          callback(error, Object.assign(stats, { ino: options.bigint ? ino : Number(ino) })),
        )
    })
    assert.match((await locate('aries.test'))?.identity ?? '', new RegExp(`:${ino}$`))
  })

  it('rejects if the way leads to a name that is not UTF-8', {
    skip: process.platform === 'linux' ? false : 'other systems have no such names',
    timeout: 10_000,
  }, async t => {
    const odd = Buffer.concat([Buffer.from(`${root}-`), Buffer.from([0xff])])
    await mkdir(odd)
    t.after(() => rmdir(odd))
    await symlink(odd, join(basePath, 'aries.test'))
    await assert.rejects(locate('aries.test'), { message: `not a path in UTF-8: ${root}-\ufffd` })
  })

  it('gives undefined for a folder that goes away while it is looked at', async () => {
    const path = await folder('aries.test')
    using _ = new PatchedFs((name, original) => {
      if (name !== 'stat') return undefined
      return (...values) => {
        rmSync(path, { recursive: true, force: true })
        return original(...values)
      }
    })
    assert.equal(await locate('aries.test'), undefined)
  })

  it('follows a link that is flipped, and its old target deleted, while it is looked at', async () => {
    const [one, two] = [await folder('../one'), await folder('../two')]
    const link = join(basePath, 'aries.test')
    await symlink(one, link)
    using _ = new PatchedFs((name, original) => {
      if (name !== 'stat') return undefined
      return async (path, ...rest) => {
        if (path === one) {
          await rm(one, { recursive: true, force: true })
          await unlink(link)
          await symlink(two, link)
        }
        return await original(path, ...rest)
      }
    })
    assert.equal((await locate('aries.test'))?.realPath, two)
  })

  describe('when the owners of links are checked', () => {
    /** Does something at the first look at the link, or at its target. */
    function atLookAt(path: string, act: () => void): PatchedFs {
      let isDone = false
      return new PatchedFs((name, original) => {
        if (name !== 'lstat') return undefined
        return (looked, ...rest) => {
          if (looked === path && !isDone) {
            isDone = true
            act()
          }
          return original(looked, ...rest)
        }
      })
    }

    it('gives undefined for a folder that goes away meanwhile', async () => {
      const path = await folder('aries.test')
      using _ = atLookAt(path, () => rmSync(path, { recursive: true }))
      assert.equal(await locate('aries.test', '%0', { user: 'owner' }), undefined)
    })

    it('follows a link that is flipped meanwhile', async () => {
      const [one, two] = [await folder('../one'), await folder('../two')]
      const path = await link('aries.test', one)
      using _ = atLookAt(path, () => {
        rmSync(path)
        symlinkSync(two, path)
      })
      assert.equal((await locate('aries.test', '%0', { user: 'owner' }))?.realPath, two)
    })

    it('rejects if it is flipped again and again', async () => {
      const [one, two] = [await folder('../one'), await folder('../two')]
      const path = await link('aries.test', one)
      let flips = 0
      using _ = new PatchedFs((name, original) => {
        if (name !== 'lstat') return undefined
        return (looked, ...rest) => {
          if (looked === path) {
            rmSync(path)
            symlinkSync(++flips % 2 === 0 ? one : two, path)
          }
          return original(looked, ...rest)
        }
      })
      await assert.rejects(locate('aries.test', '%0', { user: 'owner' }), { code: 'EACCES' })
    })
  })

  it('never gives node_modules, whatever the name', async () => {
    await folder('node_modules')
    assert.equal(await locate('node_modules'), undefined)
    assert.equal(await locate('node_modules', ['%0', '_%0']), undefined)
    assert.equal(await locate('node_modules', '%0', { getVhostPath: hostname => hostname }), undefined)
  })

  it('does not look at the disk for an IPv6 literal', async () => {
    const getVhostPath = () => assert.fail('was asked')
    assert.equal(await locate('[::1]', '%0', { basePath: '\0' }), undefined)
    assert.equal(await locate('[::1]', '%0', { getVhostPath }), undefined)
  })

  it('does not look at the disk if no pattern gives a safe path', async () => {
    assert.equal(await locate('ab.git', ['%0.3+', 'x/%0.3+'], { basePath: '\0' }), undefined)
  })

  it('rejects with an error that does not mean the folder is gone', async () => {
    await assert.rejects(locate('aries.test', '%0', { basePath: '\0' }), { code: 'ERR_INVALID_ARG_VALUE' })
    await assert.rejects(locate('aries.test', ['%0', 'x'], { basePath: '\0' }), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  })

  describe('with getVhostPath', () => {
    it('resolves its result against the base path', async () => {
      const path = await folder('sites/aries')
      const location = await locate('aries.test', '%0', { getVhostPath: () => 'sites/aries' })
      assert.deepEqual([location?.vhostPath, location?.skipped], [path, 0])
    })

    it('captures nothing, and belongs to the host alone if a folder below the base path bears the name', async () => {
      for (const [base, path, isExact] of [
        ['base', 'aries.test/current', true],
        ['base', 'shared', false],
        ['aries.test', 'shared', false],
        ['aries.test', 'aries.test', true],
      ] as const) {
        await mkdir(join(root, base, path), { recursive: true })
        const location = await locate('aries.test', '%0', {
          basePath: join(root, base),
          getVhostPath: () => path,
        })
        assert.deepEqual([location?.captures, location?.isExact], [[], isExact], `${base}/${path}`)
      }
    })

    it('awaits it, and accepts an absolute path even if there is no base path', async () => {
      const path = join(root, 'elsewhere')
      await mkdir(path)
      const location = await locate('aries.test', '%0', {
        basePath: join(root, 'no-such-folder'),
        getVhostPath: async () => path,
      })
      assert.equal(location?.realPath, path)
    })

    it('gives undefined if it gives undefined, or the base path', async () => {
      assert.equal(await locate('aries.test', '%0', { getVhostPath: () => undefined }), undefined)
      assert.equal(await locate('aries.test', '%0', { getVhostPath: () => '' }), undefined)
      assert.equal(await locate('aries.test', '%0', { getVhostPath: () => null as never }), undefined)
    })

    it('rejects if it rejects with undefined: that does not mean that nothing is there', async () => {
      const getVhostPath = (): Promise<never> => Promise.reject()
      await assert.rejects(locate('aries.test', '%0', { getVhostPath }), { message: /getVhostPath/ })
    })

    it('is not followed into a folder that serves other names', async () => {
      const served = { realPath: '/served', identity: '1:2', readAt: 3 }
      const servedFrom = (path: string) => (path === join(basePath, '.any') ? served : undefined)
      const given = await locate('aries.test', '%0', { servedFrom, getVhostPath: () => '.any' })
      assert.deepEqual([given?.realPath, given?.identity], ['/served', '1:2'])
    })

    it('rejects if it gives no string', async () => {
      const error = { code: 'ERR_VHOST_OPTION', message: "option 'getVhostPath' must give a path, not 5" }
      await assert.rejects(locate('aries.test', '%0', { getVhostPath: () => 5 as never }), error)
    })

    it('rejects with its error', async () => {
      const error = new Error('the database is down')
      await assert.rejects(locate('aries.test', '%0', { getVhostPath: () => Promise.reject(error) }), error)
    })
  })

  function locate(
    hostname: string,
    vhostDir: string | string[] = '%0',
    settings: Partial<PathSettings> = {},
  ): Promise<VhostLocation | undefined> {
    return locateVhost(hostname, { basePath, vhostPatterns: compileVhostDir(vhostDir), ...settings })
  }

  async function folder(path: string): Promise<string> {
    await mkdir(join(basePath, path), { recursive: true })
    return join(basePath, path)
  }

  async function link(name: string, target: string): Promise<string> {
    const path = join(basePath, name)
    await mkdir(dirname(path), { recursive: true })
    await symlink(target, path, 'dir')
    return path
  }
})

function cannotBeLockedOut(): string | false {
  if (process.platform === 'win32') return 'Windows has no search permission'
  return process.getuid?.() === 0 ? 'root may search any folder' : false
}
