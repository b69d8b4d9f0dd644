import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { MemoryCgroup, MemoryCgroups } from '../../lib/launch/memory-cgroup.ts'
import { startProcess } from '../../lib/launch/process-runner.ts'
import type { Reaper } from '../../lib/launch/reaper.ts'

describe('startProcess', () => {
  it('lets the app begin once its memory is limited, however long the kernel takes for that', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-runner-'))
    const entry = join(folder, 'index.js')
    writeFileSync(entry, 'console.log("begun"); module.exports = (req, res) => res.end()')
    const told: string[] = []
    const limited = async (): Promise<MemoryCgroup> => {
      // Far longer than Node takes to begin an app.
      await delay(500)
      told.push('limited')
      return { remove: async () => void told.push('removed') }
    }
    const setup = {
      entry,
      realPath: folder,
      appFolder: folder,
      socketPath: join(folder, 'socket'),
      exportName: undefined,
      modulePaths: [],
      env: {},
      owner: undefined,
    }
    const runner = startProcess(
      { setup, env: {}, memoryLimit: 2 ** 26 },
      { watch: () => {}, forget: () => {} } as unknown as Reaper,
      { limit: limited } as unknown as MemoryCgroups,
    )
    // The runner itself does not keep the process alive.
    const held = setInterval(() => {}, 1000)
    try {
      runner.stdout.once('data', text => told.push(String(text).trim()))
      await new Promise<void>(done => {
        runner.onReport = () => done()
      })
    } finally {
      runner.kill()
      await runner.exited
      clearInterval(held)
      rmSync(folder, { recursive: true })
    }
    assert.deepEqual(told, ['limited', 'begun', 'removed'])
  })
})
