import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReloadRate } from '../lib/reload-rate.ts'

describe('ReloadRate', () => {
  it('tells of the sixth within a minute, once', () => {
    const rate = new ReloadRate()
    const told = Array.from({ length: 8 }, () => rate.isTooMany('/srv/aries'))
    assert.deepEqual(told, [false, false, false, false, false, true, false, false])
  })

  it('counts each release on its own', () => {
    const rate = new ReloadRate()
    for (let n = 0; n < 5; n++) rate.isTooMany('/srv/aries')
    assert.equal(rate.isTooMany('/srv/taurus'), false)
    assert.equal(rate.isTooMany('/srv/aries'), true)
  })

  it('forgets what is longer ago than a minute', t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const rate = new ReloadRate()
    for (let n = 0; n < 5; n++) rate.isTooMany('/srv/aries')
    now = 60_001
    for (let n = 0; n < 5; n++) assert.equal(rate.isTooMany('/srv/aries'), false)
    assert.equal(rate.isTooMany('/srv/aries'), true)
  })
})
