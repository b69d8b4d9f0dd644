import assert from 'node:assert/strict'
import { parse, resolve, sep } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { compileVhostDir, type VhostPattern } from '../../lib/vhost-path/vhost-pattern.ts'
import { importOn } from '../support/import-on.ts'
import { isOptionError } from '../support/option-error.ts'

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
    it(`gives undefined for ${why}: ${JSON.stringify(hostname)} by ${pattern}`, () => {
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
    const { compileVhostDir: onWindows } = await importOn<{ compileVhostDir: typeof compileVhostDir }>(
      'win32',
      'vhost-path/vhost-pattern.js',
    )
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
      assert.throws(() => compileVhostDir(vhostDir), isOptionError(part))
    })
  }

  it('gives no path with a segment of one dot, however it came about', () => {
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
    assert.ok(isOptionError('')(error))
    return undefined
  }
}
