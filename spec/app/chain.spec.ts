import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Chain, type Link } from '../../lib/app/chain.ts'

describe('Chain', () => {
  it('holds what a Set would hold, whatever leaves in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 })), steps => {
        const chain = new Chain<number>()
        const set = new Set<number>()
        const links = new Map<number, Link<number>>()
        for (const value of steps) {
          const link = links.get(value)
          if (link) {
            assert.equal(link.leave(), set.delete(value))
            assert.equal(link.leave(), false)
            links.delete(value)
          } else {
            links.set(value, chain.add(value))
            set.add(value)
          }
          assert.equal(chain.size, set.size)
          assert.deepEqual(new Set(chain.values()), set)
        }
      }),
    )
  })

  it('lets items leave while it is being iterated', () => {
    const chain = new Chain<number>()
    const links = [1, 2, 3].map(value => chain.add(value))
    for (const value of chain.values()) links[value - 1]?.leave()
    assert.deepEqual([chain.size, chain.values()], [0, []])
  })
})
