import assert from 'node:assert/strict'
import { ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Reaper } from '../../lib/launch/reaper.ts'
import { isAlive } from '../support/isolated.ts'
import { eventually } from '../support/world.ts'

const onLinux = { skip: process.platform !== 'linux' && '/proc is of Linux' }

describe('Reaper', onLinux, () => {
  it('ends the processes that it watches, and no others, even if it was itself killed meanwhile', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-reaper-'))
    const reaper = new Reaper(folder, '')
    reaper.start()
    const [early, late, forgotten] = [startSleep(), startSleep(), startSleep()]
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

  it('is started for the next app if its own process could not be started', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-reaper-'))
    const reaper = new Reaper(folder, '')
    const { spawn: start } = Startable
    const failing = t.mock.method(Startable, 'spawn', function (this: unknown, options: object) {
      return start.call(this, { ...options, file: '/nowhere' })
    })
    reaper.start()
    failing.mock.restore()
    reaper.start()
    const app = startSleep()
    reaper.watch(app)
    reaper.close()
    await eventually(() => !isAlive(app) && !existsSync(folder))
  })
})

/** The method that `spawn()` of node:child_process uses. */
const Startable = ChildProcess.prototype as unknown as { spawn(this: unknown, options: object): unknown }

/** Starts a process in a process group of its own, as each app is. */
function startSleep(): number {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
  child.unref()
  return child.pid as number
}

/** The process id of the reaper's shell, whose arguments include the folder. */
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
