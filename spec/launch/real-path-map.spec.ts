import assert from 'node:assert/strict'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isWithin } from '../../lib/files/is-within.ts'
import { NO_RELEASE, RealPathMap } from '../../lib/launch/real-path-map.ts'

const ROOT = resolve('/srv/www')

describe('RealPathMap', () => {
  it('gives what is known of a release, and of those around and within it', () => {
    const map = mapOf('.', 'aries', 'aries/app', 'aries/nested/deep', 'aries-2', 'arie', 'taurus')
    assert.deepEqual(around(map, 'aries'), ['.', 'aries', 'aries/app', 'aries/nested/deep'])
    assert.deepEqual(around(map, 'aries/app'), ['.', 'aries', 'aries/app'])
    assert.deepEqual(around(map, 'aries/other'), ['.', 'aries'])
    assert.deepEqual(around(map, 'taurus'), ['.', 'taurus'])
    assert.deepEqual(around(map, 'gemini'), ['.'])
  })

  it('always includes what belongs to no release', () => {
    const map = mapOf('aries')
    map.add(NO_RELEASE, 'none')
    assert.deepEqual(map.around(join(ROOT, 'aries')).sort(), [
      [NO_RELEASE, 'none'],
      [join(ROOT, 'aries'), 'aries'],
    ])
  })

  it('gives nothing that was deleted', () => {
    const map = mapOf('aries', 'aries/app')
    assert.equal(map.get(join(ROOT, 'aries/app')), 'aries/app')
    for (const name of ['aries/app', 'aries/app', 'aries/none']) map.delete(join(ROOT, name))
    assert.deepEqual(around(map, 'aries'), ['aries'])
    map.add(join(ROOT, 'aries/lib'), 'aries/lib')
    assert.deepEqual(around(map, 'aries'), ['aries', 'aries/lib'])
  })

  it('gives what a full search would give', () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 4 })
      .map(parts => join(ROOT, ...parts))
    const change = fc.tuple(fc.constantFrom<'add' | 'delete'>('add', 'delete'), path)
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), path, (changes, realPath) => {
        const map = new RealPathMap<string>()
        const all = new Set<string>()
        for (const [what, changed] of changes) {
          if (what === 'delete') map.delete(changed)
          else if (!all.has(changed)) map.add(changed, changed)
          all[what](changed)
        }
        const found = [...all].filter(other => isWithin(realPath, other) || isWithin(other, realPath))
        assert.deepEqual(map.around(realPath).sort(), found.map(other => [other, other]).sort())
      }),
    )
  })

  it('does not search everything', () => {
    const names = Array.from({ length: 20_000 }, (_, n) => `${n}.test`)
    const map = mapOf(...names)
    const start = performance.now()
    for (const name of names) assert.equal(map.around(join(ROOT, name)).length, 1)
    const took = performance.now() - start
    // Going through all of them took 40 seconds.
    assert.ok(took < 4000, `${took} ms`)
  })
})

function mapOf(...names: string[]): RealPathMap<string> {
  const map = new RealPathMap<string>()
  for (const name of names) map.add(join(ROOT, name), name)
  return map
}

function around(map: RealPathMap<string>, name: string): string[] {
  return map
    .around(join(ROOT, name))
    .map(([, known]) => known)
    .sort()
}
