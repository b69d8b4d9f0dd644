import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isReport } from '../../lib/entry/messages.ts'
import { plainError } from '../../lib/entry/plain-error.ts'

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
    it(`accepts '${report.type}'`, () => assert.ok(isReport(report)))
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
    it(`does not accept ${JSON.stringify(made)}`, () => assert.ok(!isReport(made)))
  }
})
