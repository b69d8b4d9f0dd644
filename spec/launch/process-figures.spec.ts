import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readProcessFigures } from '../../lib/launch/process-figures.ts'

describe('readProcessFigures', () => {
  it('gives memory and processor time as the process itself does', () => {
    const before = process.cpuUsage()
    const figures = readProcessFigures(process.pid)
    const rss = process.memoryUsage.rss()
    assert.ok(figures)
    assert.ok(Math.abs((figures.memory ?? 0) - rss) < rss / 10, `${figures.memory} and ${rss} bytes`)
    const own = (before.user + before.system) / 1000
    assert.ok(Math.abs((figures.cpu ?? 0) - own) < 200, `${figures.cpu} and ${own} ms`)
  })

  it('gives nothing for a process that does not exist', () => {
    // Above the highest process id on Linux.
    assert.equal(readProcessFigures(2 ** 22 + 1), undefined)
  })
})
