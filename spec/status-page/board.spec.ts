import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it } from 'node:test'
import type { VhostRouter } from '../../lib/index.ts'
import { Board } from '../../lib/status-page/board.ts'

describe('Board', () => {
  it('keeps the first name of a row, in whatever order aliases follow a flip', () => {
    const { look, serve } = start()
    serve({ 'releases/1': ['aries.test', 'www.aries.test'], taurus: ['taurus.test'] })
    assert.deepEqual(look(), [['aries.test', 'www.aries.test'], ['taurus.test']])
    serve({
      'releases/2': ['www.aries.test', 'aries.test'],
      taurus: ['leo.test', 'virgo.test', 'taurus.test'],
    })
    assert.deepEqual(look(), [
      ['aries.test', 'www.aries.test'],
      ['taurus.test', 'leo.test', 'virgo.test'],
    ])
    serve({ 'releases/2': ['www.aries.test'], 'releases/3': ['aries.test'], taurus: ['leo.test'] })
    assert.deepEqual(look(), [['www.aries.test'], ['aries.test'], ['leo.test']])
  })
})

function start() {
  let vhosts: object[] = []
  const stats = () => ({ vhosts, totals: {}, staleGraphs: 0, isClosed: false })
  const board = new Board(Object.assign(new EventEmitter(), { stats }) as unknown as VhostRouter)
  return {
    look: () => board.look().rows.map(({ hostnames }) => hostnames),
    /** Releases, each with the names that lead there. */
    serve(releases: Record<string, string[]>): void {
      vhosts = Object.entries(releases).map(([realPath, hostnames]) => ({
        realPath,
        hostnames,
        loadedAt: '',
      }))
    },
  }
}
