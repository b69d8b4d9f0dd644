import assert from 'node:assert/strict'
import { join, parse, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { isBelow, isWithin } from '../../lib/files/is-within.ts'

const folder = resolve('/srv/www/aries')
const paths = [folder, join(folder, 'app'), `${folder}-2`, resolve('/srv/www'), resolve('/srv/www/taurus')]

describe('isWithin', () => {
  it('says whether a path is a folder or lies in it', () => {
    assert.deepEqual(
      paths.map(path => isWithin(path, folder)),
      [true, true, false, false, false],
    )
  })
})

describe('isBelow', () => {
  it('says whether a path lies in a folder', () => {
    assert.deepEqual(
      paths.map(path => isBelow(path, folder)),
      [false, true, false, false, false],
    )
  })

  it('finds everything in the topmost folder, but itself', () => {
    const { root } = parse(folder)
    assert.deepEqual([isBelow(folder, root), isBelow(root, root)], [true, false])
  })
})
