import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ask, ControlError } from '../../lib/cli/control-client.ts'
import { eventually } from '../support/world.ts'

describe('ask()', () => {
  it('gives up on a server that says nothing, except during a load', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'van-'))
    const path = join(folder, 'control.sock')
    const waiting = new Map<string | undefined, ServerResponse>()
    const server = createServer((req, res) => waiting.set(req.method, res)).listen(path)
    t.after(() => {
      server.close()
      rmSync(folder, { recursive: true })
    })
    await new Promise(resolve => server.once('listening', resolve))
    const reloaded = ask<{ realPath: string }>(path, 'POST', '/reload', ['realPath'], 20)
    await assert.rejects(ask(path, 'GET', '/status', [], 20), (error: Error) => {
      assert.ok(error instanceof ControlError)
      assert.match(error.message, /^no server answers: .* nothing for 0\.02 s$/)
      return true
    })
    await eventually(() => waiting.has('POST'))
    waiting.get('POST')?.end('{"realPath":"/"}')
    assert.deepEqual(await reloaded, { isOk: true, body: { realPath: '/' } })
  })
})
