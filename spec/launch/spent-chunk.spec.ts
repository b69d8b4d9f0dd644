import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { giveBack } from '../../lib/launch/spent-chunk.ts'

const canTransfer = 'transfer' in ArrayBuffer.prototype

describe('giveBack', () => {
  it('empties what has been written', { skip: canTransfer ? false : 'this Node cannot' }, () => {
    const chunk = Buffer.allocUnsafeSlow(64 * 1024)
    const written = giveBack(chunk)
    assert.equal(chunk.length, 64 * 1024)
    written?.(null)
    assert.equal(chunk.length, 0)
  })

  it('leaves alone what could not be written', () => {
    const chunk = Buffer.allocUnsafeSlow(64 * 1024)
    giveBack(chunk)?.(new Error('the connection is gone'))
    assert.equal(chunk.length, 64 * 1024)
  })

  it('leaves alone what is part of more memory, or small', () => {
    assert.equal(giveBack(Buffer.allocUnsafeSlow(64 * 1024).subarray(1)), undefined)
    assert.equal(giveBack(Buffer.allocUnsafeSlow(64)), undefined)
    assert.equal(giveBack(Buffer.from('pooled')), undefined)
  })
})
