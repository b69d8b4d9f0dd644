import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as van from '../lib/index.ts'

describe('express-van', () => {
  it('exports these names and no others', () => {
    assert.deepEqual(Object.keys(van).sort(), [
      'VhostError',
      'default',
      'explanationSteps',
      'treeVersion',
      'vhostAlias',
      'vhostRouter',
    ])
    assert.equal(van.default, van.vhostRouter)
  })

  it('gives a router whose verbs are bound', async () => {
    const { on, off, once, stats, why, load, reload, close, upgrade, static: files } = van.vhostRouter()
    assert.equal(typeof on('load', () => {}), 'function')
    assert.equal(typeof once('load', () => {}), 'function')
    assert.equal(typeof off('load', () => {}), 'function')
    assert.equal(typeof upgrade, 'function')
    assert.equal(typeof files(), 'function')
    assert.deepEqual(stats().vhosts, [])
    assert.equal((await why('nobody.test')).outcome, 'no vhost')
    assert.equal(await load('nobody.test'), undefined)
    assert.equal(await reload('nobody.test'), undefined)
    await close()
  })

  it('also treats undefined as absent in close(), as with a configuration that omits it', async () => {
    const [drainTimeout]: number[] = []
    await van.vhostRouter().close({ drainTimeout })
  })
})
