import assert from 'node:assert/strict'
import { join, resolve } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { addRelease, realPathOf, releaseOf, removeRelease } from '../../lib/launch/loaded-releases.ts'

const ARIES = resolve('/srv/www/aries')
const INNER = join(ARIES, 'app/inner')
const FILE = join(INNER, 'lib/index.js')

describe('loaded releases', () => {
  afterEach(() => {
    for (const realPath of [ARIES, INNER]) removeRelease(realPath)
  })

  it('finds the nearest release around a file, and none above or beside it', () => {
    const release = add(ARIES)
    const inner = add(INNER)
    assert.equal(releaseOf(FILE), inner)
    assert.equal(releaseOf(join(ARIES, 'index.js')), release)
    for (const file of [`${ARIES}-2/index.js`, resolve('/srv/www/index.js'), '/index.js', 'node:fs']) {
      assert.equal(releaseOf(file), undefined)
    }
  })

  it('notices each release that is added, replaced or removed', () => {
    assert.equal(realPathOf(FILE), undefined)
    add(ARIES)
    assert.equal(realPathOf(FILE), ARIES)
    add(INNER)
    assert.equal(realPathOf(FILE), INNER)
    const newer = add(INNER)
    assert.equal(releaseOf(FILE), newer)
    removeRelease(INNER)
    assert.equal(realPathOf(FILE), ARIES)
    removeRelease(ARIES)
    assert.equal(realPathOf(FILE), undefined)
  })
})

function add(realPath: string): object {
  const release = { generation: 0, modulePaths: [] }
  addRelease(realPath, release)
  return release
}
