import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReloadRate } from '../../lib/app-cache/reload-rate.ts'

describe('ReloadRate', () => {
  it('reports the sixth within a minute, once', () => {
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

  it('forgets what happened more than a minute ago', t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const rate = new ReloadRate()
    for (let n = 0; n < 5; n++) rate.isTooMany('/srv/aries')
    now = 60_001
    for (let n = 0; n < 5; n++) assert.equal(rate.isTooMany('/srv/aries'), false)
    assert.equal(rate.isTooMany('/srv/aries'), true)
  })

  it('pauses, longer and longer, a release that has changed soon after each of sixty-one reloads', t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const rate = new ReloadRate()
    const pauses: number[] = []
    for (let n = 0; n < 67; n++) {
      rate.isTooMany('/srv/aries')
      now += 50
      pauses.push(rate.pauseBefore('/srv/aries'))
      now += pauses.at(-1) as number
      assert.equal(rate.pauseBefore('/srv/aries'), 0)
    }
    const quick = Array.from({ length: 60 }, () => 0)
    assert.deepEqual(pauses, [...quick, 950, 1950, 3950, 7950, 9950, 9950, 9950])
  })

  it('pauses neither a release that changed later once, nor another one', t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const rate = new ReloadRate()
    for (let n = 0; n < 200; n++) {
      rate.isTooMany('/srv/aries')
      now += n % 60 === 59 ? 201 : 199
      assert.equal(rate.pauseBefore('/srv/aries'), 0)
      assert.equal(rate.pauseBefore('/srv/leo'), 0)
    }
  })

  it('does not pause a release that has changed later, even after sixty-one reloads that were soon followed', t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const rate = new ReloadRate()
    for (let n = 0; n < 61; n++) {
      rate.isTooMany('/srv/aries')
      if (n < 60) rate.pauseBefore('/srv/aries')
    }
    now = 200
    assert.equal(rate.pauseBefore('/srv/aries'), 0)
    rate.isTooMany('/srv/aries')
    assert.equal(rate.pauseBefore('/srv/aries'), 0)
  })
})
