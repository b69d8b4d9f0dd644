import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Crashes } from '../../lib/app-cache/crashes.ts'
import { VhostError } from '../../lib/index.ts'

const crash = new VhostError('ERR_VHOST_CRASHED', { detail: 'it ended with code 7' })
const app = (realPath: string, ranFor = 0): Parameters<Crashes['note']>[0] => ({
  release: { realPath, version: 1 },
  loadedAt: new Date(Date.now() - ranFor),
})

describe('Crashes', () => {
  it('are followed by a restart at once, then after 100 ms, doubling up to 30 s', () => {
    const crashes = new Crashes()
    const pauses = Array.from({ length: 12 }, () => crashes.note(app('/a'), crash))
    assert.deepEqual(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000])
  })

  it('start again from the shortest pause after an app has run for half a minute', () => {
    const crashes = new Crashes()
    for (let time = 0; time < 5; time++) crashes.note(app('/a'), crash)
    assert.equal(crashes.note(app('/a', 31_000), crash), 0)
    assert.equal(crashes.note(app('/a'), crash), 100)
  })

  it('are counted for each release, with how the last one ended', () => {
    const crashes = new Crashes()
    crashes.note(app('/a'), crash)
    crashes.note(app('/a'), crash)
    crashes.note(app('/b'), crash)
    const { restarts, lastExit } = crashes.of('/a')
    assert.equal(restarts, 2)
    assert.match(String(lastExit?.how), /it ended with code 7/)
    assert.ok(Math.abs(Date.parse(String(lastExit?.at)) - Date.now()) < 60_000)
    assert.deepEqual([crashes.of('/b').restarts, crashes.of('/c').restarts], [1, 0])
    assert.equal(crashes.of('/c').lastExit, null)
  })

  it('of more than a thousand releases are forgotten, the oldest first', () => {
    const crashes = new Crashes()
    for (let n = 0; n <= 1000; n++) crashes.note(app(`/${n}`), crash)
    assert.deepEqual([crashes.of('/0').restarts, crashes.of('/1').restarts], [0, 1])
  })
})
