import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { atLeast } from '../../lib/promises/at-least.ts'

describe('atLeast', () => {
  it('never takes less than it was told to, even if that is no whole number', async () => {
    for (let milliseconds = 1; milliseconds < 10; milliseconds += 0.3) {
      const start = performance.now()
      await atLeast(milliseconds)
      assert.ok(performance.now() - start >= milliseconds, String(milliseconds))
    }
  })
})
