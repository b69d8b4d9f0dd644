import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { within } from '../../lib/promises/within.ts'
import { timers } from '../support/process-state.ts'

const never = new Promise<never>(() => {})

describe('within', () => {
  it('gives the result of a promise that is in time, and leaves no timer behind', async () => {
    const before = timers()
    assert.equal(await within(60_000, Promise.resolve('given'), () => 'late'), 'given')
    assert.equal(timers(), before)
  })

  it('rejects with what the promise rejects with, and leaves no timer behind', async () => {
    const before = timers()
    const failed = Promise.reject(new Error('failed'))
    await assert.rejects(
      within(60_000, failed, () => 'late'),
      /failed/,
    )
    assert.equal(timers(), before)
  })

  it('gives the substitute for a promise that takes longer', async () => {
    assert.equal(await within(1, never, () => 'late'), 'late')
  })

  it('rejects with what is thrown for a promise that takes longer', async () => {
    const late = within(1, never, () => {
      throw new Error('late')
    })
    await assert.rejects(late, /late/)
  })
})
