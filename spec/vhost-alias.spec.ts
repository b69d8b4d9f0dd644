import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { parseHost } from '../lib/hostname.ts'
import { vhostAlias } from '../lib/vhost-alias.ts'
import { isOptionError } from './support/option-error.ts'

describe('vhostAlias', () => {
  for (const { pattern, host, path } of vectors()) {
    it(`maps ${shorten(host)} by ${pattern} as Apache does`, () => {
      assert.equal(vhostAlias(pattern)(parseHost(host) as string), path)
    })
  }

  it('accepts a relative pattern', () => assert.equal(vhostAlias('%-2.0.%-1.0/%1')('a.b.c'), 'b.c/a'))
  it('inserts the port if it is given one', () => assert.equal(vhostAlias('/%p')('a', 8080), '/8080'))
  it('lowers the name, but not the pattern', () => assert.equal(vhostAlias('/A/%0')('B\u212a'), '/A/b\u212a'))
  it('lowers a name that is all capitals', () => assert.equal(vhostAlias('/%0')('ABC'), '/abc'))
  it('splits a name into as many labels as Apache does', () => {
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
    it(`refuses ${JSON.stringify(pattern)} and names the faulty part`, () => {
      assert.throws(() => vhostAlias(pattern), isOptionError(JSON.stringify(part)))
    })
  }
  it('refuses what is not a string', () => {
    const circle: unknown[] = []
    circle.push(circle)
    for (const [pattern, told] of [
      [7, '7'],
      [null, 'null'],
      [undefined, 'undefined'],
      [['%0'], `[ '%0' ]`],
      [1n, '1n'],
      [Symbol('%0'), 'Symbol(%0)'],
      [circle, '[Circular *1]'],
    ] as unknown as [string, string][]) {
      assert.throws(() => vhostAlias(pattern), isOptionError(told))
    }
  })
  it('says how to write a literal dot', () => {
    assert.throws(() => vhostAlias('%0.static'), isOptionError('write %N.0 before a literal dot'))
  })
})

function vectors(): { pattern: string; host: string; path: string }[] {
  return (JSON.parse(readFileSync('spec/vectors/vhost-alias.json', 'utf8')) as { rows: [] }).rows
}

function shorten(host: string): string {
  return host.length > 40 ? `${host.slice(0, 20)}… (${host.length})` : host
}
