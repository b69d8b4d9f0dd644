import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Reaper } from '../../lib/launch/reaper.ts'
import { isAlive } from '../support/isolated.ts'
import { eventually } from '../support/world.ts'

const onLinux = { skip: process.platform !== 'linux' && '/proc is of Linux' }

describe('Reaper', onLinux, () => {
  it('ends what is watched, and no other, also where it was itself killed meanwhile', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-reaper-'))
    const reaper = new Reaper(folder, '')
    reaper.start()
    const [early, late, forgotten] = [start(), start(), start()]
    reaper.watch(early)
    reaper.watch(forgotten)
    const shell = shellOf(folder)
    process.kill(shell, 'SIGKILL')
    await eventually(() => assert.notEqual(shellOf(folder), shell))
    reaper.watch(late)
    reaper.forget(forgotten)
    reaper.close()
    await eventually(() => !isAlive(early) && !isAlive(late) && !existsSync(folder))
    assert.ok(isAlive(forgotten))
    process.kill(forgotten, 'SIGKILL')
  })
})

/** In a process group of its own, as each app is. */
function start(): number {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
  child.unref()
  return child.pid as number
}

/** Its folder is among its arguments. */
function shellOf(folder: string): number {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name) && commandOf(name).includes(folder))
  assert.equal(pids.length, 1)
  return Number(pids[0])
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    // It has ended meanwhile.
    return ''
  }
}
