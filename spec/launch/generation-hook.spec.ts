import assert from 'node:assert/strict'
import Module from 'node:module'
import { describe, it } from 'node:test'

describe('hookGenerations', () => {
  it('fails each load where Node takes no hook, as under Jest, and not the first alone', async () => {
    // A copy that has not been asked yet.
    const copy: string = '../../lib/launch/generation-hook.js?copy'
    const { hookGenerations } = await import(copy)
    const hookable = Module as unknown as Record<string, unknown>
    const name = 'registerHooks' in Module ? 'registerHooks' : 'register'
    const usual = hookable[name]
    hookable[name] = () => {
      throw new Error('not supported')
    }
    try {
      for (let load = 0; load < 2; load++) assert.throws(hookGenerations, /not supported/)
    } finally {
      hookable[name] = usual
    }
  })
})
