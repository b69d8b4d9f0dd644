import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SideBySide } from '../../lib/follower/side-by-side.ts'

describe('SideBySide', () => {
  it('gives each value an equal copy of its own, however many there are', () => {
    const names = new SideBySide<{ id: number; name: string | undefined }>()
    const values = Array.from({ length: 1000 }, (_, id) => ({ id, name: id % 2 ? `${id}.test` : undefined }))
    const copies = values.map(value => names.copy(value))
    assert.deepEqual(copies, values)
    assert.equal(new Set([...copies, ...values]).size, 2000)
  })
})
