import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, type Mock, mock } from 'node:test'
import { Failures } from '../../lib/app-cache/failures.ts'
import { VhostError } from '../../lib/errors.ts'

const release = { realPath: '/srv/aries', version: 'one' }
const newer = { ...release, version: 'two' }

let now: number
let clock: Mock<typeof performance.now>

beforeEach(() => {
  now = 1000
  clock = mock.method(performance, 'now', () => now)
})
afterEach(() => clock.mock.restore())

function failed(cause = 'a typo'): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { cause: new Error(cause) })
}

describe('Failures', () => {
  it('allows an attempt at a release that it does not know, or at another version', () => {
    const failures = new Failures(3000, 100)
    assert.equal(failures.pauseBefore(release), 0)
    failures.note(release, failed(), 0)
    assert.equal(failures.pauseBefore(newer), 0)
    assert.equal(failures.pauseBefore({ ...release, realPath: '/srv/taurus' }), 0)
  })

  it('doubles the pause with each attempt, from 100 ms to 30 s, and starts over with another version', () => {
    const failures = new Failures(3000, 100)
    const pauses = Array.from({ length: 11 }, () => {
      failures.note(release, failed(), 0)
      return failures.pauseBefore(release)
    })
    assert.deepEqual(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000])
    assert.equal(failures.of(release)?.attempts, 11)
    failures.note(newer, failed(), 0)
    assert.equal(failures.pauseBefore(newer), 100)
    assert.equal(failures.of(newer)?.attempts, 1)
    assert.equal(failures.of(release), undefined)
  })

  it('starts with the interval if that is shorter', () => {
    const failures = new Failures(30, 100)
    failures.note(release, failed(), 0)
    assert.equal(failures.pauseBefore(release), 30)
    now += 29
    assert.equal(failures.pauseBefore(release), 1)
    now += 2
    assert.equal(failures.pauseBefore(release), 0)
  })

  it('recognizes what is news: another version, another message, another cause', () => {
    const failures = new Failures(3000, 100)
    const { cause } = failed()
    assert.equal(failures.note(release, new VhostError('ERR_VHOST_LOAD', { cause }), 0), true)
    assert.equal(failures.note(release, new VhostError('ERR_VHOST_LOAD', { cause }), 0), false)
    assert.equal(failures.note(release, new VhostError('ERR_VHOST_NO_HANDLER', { cause }), 0), true)
    assert.equal(failures.note(release, failed('another typo'), 0), true)
    assert.equal(failures.note(release, new VhostError('ERR_VHOST_LOAD_TIMEOUT'), 0), true)
    assert.equal(failures.note(newer, new VhostError('ERR_VHOST_LOAD_TIMEOUT'), 0), true)
  })

  it('keeps since when a version has been refused, and how many requests its stand-in had served by then', () => {
    const failures = new Failures(3000, 100)
    failures.note(release, failed(), 7)
    const first = failures.of(release)
    failures.note(release, failed('another typo'), 9)
    assert.equal(failures.of(release)?.since, first?.since)
    assert.deepEqual([first?.requestsThen, failures.of(release)?.requestsThen], [7, 9])
    failures.note(newer, failed(), 0)
    assert.notEqual(failures.of(newer)?.since, first?.since)
  })

  it('assumes that the first attempt may have come too early, unless no file could mend it', () => {
    const failures = new Failures(3000, 100)
    assert.equal(failures.mayHaveMissed(release), false)
    for (const code of ['ERR_VHOST_LOAD_TIMEOUT', 'ERR_VHOST_CRASHED'] as const) {
      failures.note({ ...release, version: code }, new VhostError(code), 0)
      assert.equal(failures.mayHaveMissed(release), false, code)
    }
    failures.note(release, failed(), 0)
    assert.equal(failures.mayHaveMissed(release), true)
    failures.note(release, failed(), 0)
    assert.equal(failures.mayHaveMissed(release), false)
  })

  it('holds back what crashed, and says in whole seconds when to retry', () => {
    const failures = new Failures(3000, 100)
    const letGo = failures.hold(release, 1500)
    const failure = failures.of(release)
    assert.deepEqual(
      [failures.pauseBefore(release), failure?.error.code, failure?.error.headers],
      [1500, 'ERR_VHOST_CRASHED', { 'Retry-After': '2' }],
    )
    assert.equal(failures.mayHaveMissed(release), false)
    letGo()
    assert.equal(failures.pauseBefore(release), 0)
    failures.note(newer, failed(), 0)
    letGo()
    assert.equal(failures.pauseBefore(newer), 100)
  })

  it('forgets what it is told to forget and, beyond a thousand, the oldest', () => {
    const failures = new Failures(3000, 100)
    failures.note(release, failed(), 0)
    assert.equal(failures.peek(release.realPath), failures.of(release))
    failures.delete(release.realPath)
    assert.equal(failures.peek(release.realPath), undefined)
    for (let n = 0; n <= 1000; n++) failures.note({ ...release, realPath: `/srv/${n}` }, failed(), 0)
    assert.equal(failures.all.length, 1000)
    assert.equal(failures.peek('/srv/0'), undefined)
  })

  it('remembers one failure for each app that may go on serving, however many there are', () => {
    const failures = new Failures(3000, 1500)
    const error = failed()
    for (let n = 0; n < 1500; n++) failures.note({ ...release, realPath: `/srv/${n}` }, error, 0)
    assert.equal(failures.all.length, 1500)
    assert.equal(failures.note({ ...release, realPath: '/srv/0' }, error, 0), false)
  })
})
