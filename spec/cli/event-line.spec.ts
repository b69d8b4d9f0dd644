import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { eventLine } from '../../lib/cli/event-line.ts'

const TIME = '2026-11-30T12:00:00.000Z'
const RELEASE = '/srv/releases/2'
const about = { time: TIME, realPath: RELEASE, hostnames: ['aries.test', 'www.aries.test'] }

describe('eventLine()', () => {
  it('tells of a load how long it took', () => {
    assert.equal(
      eventLine({ ...about, event: 'load', durationMs: 41.7 }),
      `${TIME} load   aries.test www.aries.test  42 ms  ${RELEASE}`,
    )
  })

  it('tells of an eviction why, and what it cut', () => {
    assert.equal(
      eventLine({ ...about, event: 'evict', reason: 'changed', cut: 0 }),
      `${TIME} evict  aries.test www.aries.test  changed  ${RELEASE}`,
    )
    assert.equal(
      eventLine({ ...about, event: 'evict', reason: 'changed', cut: 2 }),
      `${TIME} evict  aries.test www.aries.test  changed, requests cut: 2  ${RELEASE}`,
    )
  })

  it('names a host once, whichever of the names the error begins with', () => {
    for (const name of about.hostnames) {
      assert.equal(
        eventLine({
          ...about,
          event: 'error',
          error: { message: `${name}: The app crashed`, cause: 'SIGKILL' },
        }),
        `${TIME} error  aries.test www.aries.test  The app crashed: SIGKILL (nothing serves)`,
      )
    }
  })

  it('leaves a message alone that begins with another host', () => {
    const line = eventLine({ ...about, event: 'error', error: { message: 'leo.test: away' }, serving: about })
    assert.equal(line, `${TIME} error  aries.test www.aries.test  leo.test: away (${RELEASE} serves on)`)
  })
})
