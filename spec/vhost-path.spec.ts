import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, realpath, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, parse, resolve, sep } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import fc from 'fast-check'
import { parseHost } from '../lib/hostname.ts'
import {
  compileVhostDir,
  locateVhost,
  type PathSettings,
  type VhostLocation,
  type VhostPattern,
  vhostAlias,
} from '../lib/vhost-path.ts'
import { FsCalls, PatchedFs } from './support/patched-fs.ts'

describe('vhostAlias', () => {
  for (const { pattern, host, path } of vectors()) {
    it(`maps ${shorten(host)} by ${pattern} as Apache does`, () => {
      assert.equal(vhostAlias(pattern)(parseHost(host) as string), path)
    })
  }

  it('takes a relative pattern', () => assert.equal(vhostAlias('%-2.0.%-1.0/%1')('a.b.c'), 'b.c/a'))
  it('puts in the port where it is told one', () => assert.equal(vhostAlias('/%p')('a', 8080), '/8080'))
  it('lowers the name, not the pattern', () => assert.equal(vhostAlias('/A/%0')('B\u212a'), '/A/b\u212a'))
  it('lowers a name of capitals alone', () => assert.equal(vhostAlias('/%0')('ABC'), '/abc'))
  it('splits a name of as many labels as Apache splits off', () => {
    const name = Array.from({ length: 18 }, (_, label) => `l${label}`).join('.')
    assert.equal(vhostAlias('/%0/%-1')(name), `/${name}/l17`)
  })
  it('maps an IPv6 literal without its brackets, as Apache does', () => {
    assert.equal(vhostAlias('/srv/%0')('[::1]'), '/srv/::1')
  })

  const bad: [pattern: string, part: string][] = [
    ['/srv/%0.static', '%0.static'],
    ['/srv/%-2.%-1', '%-2.'],
    ['/srv/%1+./x', '%1+.'],
    ['/srv/%x', '%x'],
    ['/srv/%-/x', '%-'],
    ['/srv/%+1', '%+1'],
    ['/srv/%%%', '%'],
    ['', ''],
  ]
  for (const [pattern, part] of bad) {
    it(`refuses ${JSON.stringify(pattern)} and names the bad part`, () => {
      assert.throws(() => vhostAlias(pattern), optionError(JSON.stringify(part)))
    })
  }
  it('refuses what is no string', () => {
    for (const pattern of [7, null, undefined, ['%0']] as unknown as string[]) {
      assert.throws(() => vhostAlias(pattern), optionError(`not ${JSON.stringify(pattern)}`))
    }
  })
  it('says how to write a dot that is meant as one', () => {
    assert.throws(() => vhostAlias('%0.static'), optionError('write %N.0 before one that is meant as such'))
  })
})

describe('compileVhostDir', () => {
  const safe: [pattern: string, hostname: string, path: string][] = [
    ['%0', 'example.com', 'example.com'],
    ['%0', '__proto__', '__proto__'],
    ['%0/', 'example.com', 'example.com'],
    ['%0/current', 'example.com', 'example.com/current'],
    ['.any.%2+', 'www.example.com', '.any.example.com'],
    ['.default', 'example.com', '.default'],
    ['sites/.any/%0', 'example.com', 'sites/.any/example.com'],
    ['100%%p/%0', 'a', '100%p/a'],
    ['%0', 'node_modules.example', 'node_modules.example'],
  ]
  for (const [pattern, hostname, path] of safe) {
    it(`gives ${path} for ${hostname} by ${pattern}`, () => assert.equal(only(pattern)(hostname), path))
  }

  const unsafe: [pattern: string, hostname: string, why: string][] = [
    ['%0', '[::1]', 'an IPv6 literal'],
    ['%0', 'node_modules', 'node_modules'],
    ['%-1', 'example.node_modules', 'a label node_modules'],
    ['%1_modules/%0', 'node.example', 'a segment that becomes node_modules'],
    ['node_modules/%0', 'example.com', 'a folder of packages above it'],
    ['%0.3+', 'ab.git', 'a dot folder by a cut name'],
    ['x/%0.3+', 'ab.git', 'a dot folder below'],
    ['%0.2', 'a.b', 'the folder itself'],
    ['%0.2%0.2', 'a.b', 'the folder above'],
    ['.%0.2/x', 'a.b', 'the folder above, its first dot from the pattern'],
    ['%0//x', 'a', 'an empty segment'],
    ['%0', '../x', 'a slash in what is no hostname'],
    ['%0', '..', 'dots in what is no hostname'],
    ['%0', '', 'an empty hostname'],
  ]
  for (const [pattern, hostname, why] of unsafe) {
    it(`gives nothing for ${why}: ${JSON.stringify(hostname)} by ${pattern}`, () => {
      assert.equal(only(pattern)(hostname), undefined)
    })
  }

  it('keeps the order of an array', () => {
    const paths = compileVhostDir(['%0/current', '.any.%2+']).map(({ pathOf }) => pathOf('a.b'))
    assert.deepEqual(paths, ['a.b/current', '.any.b'])
  })

  const captures: [pattern: string, hostname: string, captures: string[], isExact: boolean][] = [
    ['%0', 'example.com', ['example.com'], true],
    ['%0/current', 'example.com', ['example.com'], true],
    ['.default', 'example.com', [], false],
    ['.any.%2+', 'www.example.com', ['example.com'], false],
    ['%-1/%-2/%-3+', 'a.b.example.com', ['com', 'example', 'a.b'], true],
    ['%-1/%-2/%-3', 'a.b.example.com', ['com', 'example', 'b'], false],
    ['%-1/%-2/%-3+', 'example.com', ['com', 'example', '_'], true],
    ['%2.1/%2.2/%2', 'www.example', ['e', 'x', 'example'], false],
    ['%1.1/%0', 'example.com', ['e', 'example.com'], true],
    ['%0.1/%0.2+', 'a.b', ['a', '.b'], false],
    ['%1%2', 'a.bc', ['a', 'bc'], false],
    ['%1-%2', 'a.bc', ['a', 'bc'], false],
    ['%1%%%2', 'a.bc', ['a', 'bc'], false],
    ['%2.0.%1', 'a.bc', ['bc', 'a'], true],
    ['100%%/v-%0', 'a.bc', ['a.bc'], true],
    ['%5/%0', 'a.b', ['_', 'a.b'], true],
    ['%1', 'a.b', ['a'], false],
    ['%2', 'a.b', ['b'], false],
    ['%1/%2', 'a.b.c', ['a', 'b'], false],
  ]
  for (const [pattern, hostname, values, isExact] of captures) {
    it(`captures ${values.join(' and ') || 'nothing'} of ${hostname} by ${pattern}`, () => {
      assert.deepEqual(one(pattern).capturesOf(hostname), values)
      assert.equal(one(pattern).isExact(hostname), isExact)
    })
  }

  it('on Windows gives no second name of a folder, and no device', async () => {
    const { compileVhostDir: onWindows } = await importOn('win32')
    const [byName, byCut] = onWindows(['%0', '%0.2+'])
    assert.deepEqual(
      ['aries.test', 'con', 'com1.txt', 'console'].map(name => byName?.pathOf(name)),
      ['aries.test', undefined, undefined, 'console'],
    )
    assert.deepEqual(
      ['xcon', 'aries.', 'xaries'].map(name => byCut?.pathOf(name)),
      [undefined, undefined, 'aries'],
    )
    assert.deepEqual([only('%0')('con'), only('%0.2+')('xaries.')], ['con', 'aries.'])
  })

  const bad: [vhostDir: string | string[], part: string][] = [
    [[], 'empty'],
    ['', '""'],
    [['%0', ''], '""'],
    ['%p', '%p'],
    ['%0/%%%p', '%p'],
    ['%0.static', '"%0.static"'],
    ['/%0', 'relative'],
    [parse(process.cwd()).root, 'relative'],
    ['.', '"."'],
    ['%0/./x', '"."'],
    ['../%0', '".."'],
    ['%0/..', '".."'],
    ['a\\%0', 'backslash'],
    ['a\0', 'NUL'],
  ]
  for (const [vhostDir, part] of bad) {
    it(`refuses ${JSON.stringify(vhostDir)}`, () => {
      assert.throws(() => compileVhostDir(vhostDir), optionError(part))
    })
  }

  it('leads nowhere by a segment of one dot, whatever made it', () => {
    assert.equal(one('.%0').pathOf(''), undefined)
    assert.equal(one('.%0').pathOf('a'), '.a')
  })

  it('stays below the base path for any pattern and any hostname', () => {
    const pieces = [
      '%0',
      '%1',
      '%-1',
      '%2+',
      '%0.2',
      '%0.-2+',
      '%1.0',
      '%%',
      '.',
      '..',
      '/',
      'a',
      'node_modules',
      '_',
    ]
    const anyPattern = fc
      .array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 5 })
      .map(all => all.join(''))
    const anyName = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom('a', '.', '-', '_', '/', '0'), maxLength: 8 }),
      fc.constantFrom('node_modules', 'a.node_modules', '[::1]'),
    )
    const basePath = resolve('vhosts')
    fc.assert(
      fc.property(anyPattern, anyName, (pattern, hostname) => {
        const path = compiled(pattern)?.(hostname)
        if (path === undefined) return
        assert.ok(resolve(basePath, path).startsWith(basePath + sep))
        assert.equal(resolve(basePath, path), basePath + sep + path.replaceAll('/', sep))
        assert.ok(!path.split('/').includes('node_modules'))
      }),
      { numRuns: 2000 },
    )
  })
})

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

  it('gives nothing where there is no such folder', async () => {
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

  it('gives an alias the real path and identity of what it leads to', async () => {
    await folder('aries.test')
    await link('www.aries.test', 'aries.test')
    const [alias, vhost] = [await locate('www.aries.test'), await locate('aries.test')]
    assert.equal(alias?.realPath, vhost?.realPath)
    assert.equal(alias?.identity, vhost?.identity)
    assert.notEqual(alias?.vhostPath, vhost?.vhostPath)
  })

  it('tries patterns in order and says how many it passed over', async () => {
    const patterns = ['%0/current', '%0', '.any.%2+', '.default']
    const paths = [await folder('.default')]
    for (const path of ['.any.test', 'aries.test', 'aries.test/current']) paths.unshift(await folder(path))
    for (const [skipped, path] of paths.entries()) {
      const location = await locate('aries.test', patterns)
      assert.deepEqual([location?.vhostPath, location?.skipped], [path, skipped])
      await rm(path, { recursive: true })
    }
  })

  it('passes over a pattern that leads nowhere safe', async () => {
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

    it('a file or a loop where a folder on the way was to be', async () => {
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

    it('not, but an error, a folder that may not be searched', {
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

  it('gives nothing for a link to the base path or a folder above it', async () => {
    await link('aries.test', basePath)
    await link('taurus.test', '..')
    await link('virgo.test', parse(basePath).root)
    for (const hostname of ['aries.test', 'taurus.test', 'virgo.test']) {
      assert.equal(await locate(hostname), undefined, hostname)
    }
  })

  it('finds the same where the base path is a link', async () => {
    const vhost = await folder('aries.test')
    await link('taurus.test', '.')
    await symlink(basePath, join(root, 'www'), 'dir')
    const linked: Partial<PathSettings> = { basePath: join(root, 'www') }
    assert.equal((await locate('aries.test', '%0', linked))?.realPath, vhost)
    assert.equal(await locate('taurus.test', '%0', linked), undefined)
  })

  it('takes a folder whose name begins like that of the base path, or the other way round', async () => {
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

  it('saves a look where a name is known to lead somewhere', async () => {
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
    it(`${isGone ? 'takes it for gone' : 'rejects'} where the real path cannot be told: ${code}`, async () => {
      await folder('aries.test')
      using _ = new PatchedFs(name => {
        if (name !== 'realpath.native') return undefined
        return (_path, callback) => process.nextTick(callback, Object.assign(new Error(code), { code }))
      })
      if (isGone) assert.equal(await locate('aries.test'), undefined)
      else await assert.rejects(locate('aries.test'), { code })
    })
  }

  it('tells folders apart whose inodes are larger than a number can be', async () => {
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

  it('gives nothing for a folder that goes while it is looked at', async () => {
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

  it('follows a link that is flipped, and what it led to deleted, while it is looked at', async () => {
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

  it('never gives node_modules, by whatever name it was to be found', async () => {
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

  it('does not look at the disk where every pattern leads nowhere safe', async () => {
    assert.equal(await locate('ab.git', ['%0.3+', 'x/%0.3+'], { basePath: '\0' }), undefined)
  })

  it('rejects with an error that does not say the folder is gone', async () => {
    await assert.rejects(locate('aries.test', '%0', { basePath: '\0' }), { code: 'ERR_INVALID_ARG_VALUE' })
    await assert.rejects(locate('aries.test', ['%0', 'x'], { basePath: '\0' }), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  })

  describe('with getVhostPath', () => {
    it('resolves what it gives against the base path', async () => {
      const path = await folder('sites/aries')
      const location = await locate('aries.test', '%0', { getVhostPath: () => 'sites/aries' })
      assert.deepEqual([location?.vhostPath, location?.skipped], [path, 0])
    })

    it('has captured nothing, and is the host\u2019s own where a folder below the base path bears its name', async () => {
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

    it('awaits it, and takes an absolute path though there is no base path', async () => {
      const path = join(root, 'elsewhere')
      await mkdir(path)
      const location = await locate('aries.test', '%0', {
        basePath: join(root, 'no-such-folder'),
        getVhostPath: async () => path,
      })
      assert.equal(location?.realPath, path)
    })

    it('gives nothing where it gives nothing, or the base path', async () => {
      assert.equal(await locate('aries.test', '%0', { getVhostPath: () => undefined }), undefined)
      assert.equal(await locate('aries.test', '%0', { getVhostPath: () => '' }), undefined)
    })

    it('rejects where it rejects with nothing: that does not say that nothing is there', async () => {
      const getVhostPath = (): Promise<never> => Promise.reject()
      await assert.rejects(locate('aries.test', '%0', { getVhostPath }), { message: /getVhostPath/ })
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

function vectors(): { pattern: string; host: string; path: string }[] {
  return (JSON.parse(readFileSync('spec/vectors/vhost-alias.json', 'utf8')) as { rows: [] }).rows
}

function shorten(host: string): string {
  return host.length > 40 ? `${host.slice(0, 20)}… (${host.length})` : host
}

function only(pattern: string): (hostname: string) => string | undefined {
  return one(pattern).pathOf
}

function one(pattern: string): VhostPattern {
  return compileVhostDir(pattern)[0] as VhostPattern
}

function compiled(pattern: string): ((hostname: string) => string | undefined) | undefined {
  try {
    return only(pattern)
  } catch (error) {
    assert.ok(optionError('')(error))
    return undefined
  }
}

/** The module as it is on another system, paths aside. */
async function importOn(platform: NodeJS.Platform): Promise<{ compileVhostDir: typeof compileVhostDir }> {
  const real = process.platform
  Object.defineProperty(process, 'platform', { value: platform })
  try {
    // The query makes it another module than the one above, which asked for the platform already.
    const url = new URL(`../lib/vhost-path.js?${platform}`, import.meta.url)
    return await import(url.href)
  } finally {
    Object.defineProperty(process, 'platform', { value: real })
  }
}

function optionError(part: string): (error: unknown) => boolean {
  return error =>
    error instanceof TypeError &&
    (error as NodeJS.ErrnoException).code === 'ERR_VHOST_OPTION' &&
    error.message.includes(part)
}

function cannotBeLockedOut(): string | false {
  if (process.platform === 'win32') return 'Windows has no search permission'
  return process.getuid?.() === 0 ? 'root may search any folder' : false
}
