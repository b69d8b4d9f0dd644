import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { App } from '../../lib/app.ts'
import { chooseVictim } from '../../lib/app-cache/victim.ts'

type Candidate = Pick<App, 'usedAt' | 'uses' | 'isBusy' | 'isKeptByNode'>

function candidate(usedAt: number, more: Partial<Candidate> = {}): Candidate {
  return { usedAt, uses: 1, isBusy: false, isKeptByNode: false, ...more }
}

function victimOf(...candidates: Candidate[]): number | undefined {
  return chooseVictim(candidates as App[])?.usedAt
}

describe('chooseVictim', () => {
  it('chooses the app that has gone longest without a request', () => {
    assert.equal(victimOf(candidate(3), candidate(1), candidate(2)), 1)
  })

  it('considers how often an app was asked for only among ten or more', () => {
    const [first, ...rest] = [9, 1, 1, 1, 1, 1, 1, 1, 1, 1].map((uses, index) =>
      candidate(index + 1, { uses }),
    )
    assert.equal(victimOf(first as Candidate, ...rest.slice(1)), 1)
    assert.equal(victimOf(first as Candidate, ...rest), 2)
  })

  it('prefers an app that was asked for less often, but never one of the tenth that was asked for last', () => {
    const rest = [1, 2, 3, 4, 5, 6, 7, 8].map(usedAt => candidate(usedAt, { uses: 5 }))
    assert.equal(victimOf(...rest, candidate(9, { uses: 4 }), candidate(10, { uses: 0 })), 9)
  })

  it('spares apps that Node would keep in memory', () => {
    assert.equal(victimOf(candidate(1, { isKeptByNode: true }), candidate(2), candidate(3)), 2)
  })

  it('takes one of the last tenth if all others are busy, and none if every app is', () => {
    const isBusy = true
    assert.equal(victimOf(candidate(1, { isBusy }), candidate(2, { isBusy }), candidate(3)), 3)
    assert.equal(victimOf(candidate(1, { isBusy }), candidate(2, { isBusy })), undefined)
    assert.equal(victimOf(), undefined)
  })

  it('does not depend on the order of the apps', () => {
    const some = fc.record({ uses: fc.nat(3), isBusy: fc.boolean(), isKeptByNode: fc.boolean() })
    fc.assert(
      fc.property(fc.array(some, { maxLength: 30 }), all => {
        const candidates = all.map((more, usedAt) => candidate(usedAt, more))
        assert.equal(victimOf(...candidates.toReversed()), victimOf(...candidates))
      }),
    )
  })
})
