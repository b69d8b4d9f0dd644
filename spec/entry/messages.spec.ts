import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isReport, type PlainError, plainError, toError } from '../../lib/entry/messages.ts'

describe('isReport', () => {
  const figures = { memory: 1, cpu: null }
  const error = plainError(new Error('boom'))

  for (const report of [
    { type: 'ready', takesUpgrades: false, figures },
    { type: 'upgrades', takesUpgrades: true },
    { type: 'no handler', detail: 'text' },
    { type: 'failed', error },
    { type: 'pong', figures },
    { type: 'stopped', error },
    { type: 'stopped', error: undefined },
  ]) {
    it(`knows '${report.type}'`, () => assert.ok(isReport(report)))
  }

  for (const made of [
    null,
    5,
    {},
    { type: 'constructor' },
    { type: 'ready', takesUpgrades: 1, figures },
    { type: 'ready', takesUpgrades: true },
    { type: 'upgrades' },
    { type: 'no handler', detail: {} },
    { type: 'failed' },
    { type: 'failed', error: null },
    { type: 'failed', error: { name: {}, message: 'text' } },
    { type: 'failed', error: { name: 'Error', message: 'text', stack: 5 } },
    { type: 'pong', figures: 7 },
    { type: 'pong', figures: { memory: '1', cpu: 1 } },
    { type: 'stopped', error: 5 },
  ]) {
    it(`takes no ${JSON.stringify(made)} for one`, () => assert.ok(!isReport(made)))
  }
})

describe('toError', () => {
  it('makes what plainError() was given, with what Express looks for', () => {
    const thrown = Object.assign(new TypeError('boom'), {
      code: 'E_BOOM',
      status: 418,
      expose: true,
      secret: 1,
    })
    const { name, message, stack, ...own } = toError(plainError(thrown)) as Error & Record<string, unknown>
    assert.deepEqual(
      { name, message, stack, ...own },
      { name: 'TypeError', message: 'boom', stack: thrown.stack, code: 'E_BOOM', status: 418, expose: true },
    )
  })

  it('takes nothing that no error has', () => {
    const made = JSON.parse('{"name":"Error","message":"m","__proto__":{"status":200},"toString":1}')
    const error = toError(made as PlainError)
    assert.equal(Object.getPrototypeOf(error), Error.prototype)
    assert.equal(String(error), 'Error: m')
  })
})
