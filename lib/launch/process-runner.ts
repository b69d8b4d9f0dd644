import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isReport, type Order, type Report, SETUP_VARIABLE } from '../entry/messages.ts'
import { hasStreams } from './has-streams.ts'
import type { MemoryCgroups } from './memory-cgroup.ts'
import { lastLines, readLines } from './output-lines.ts'
import type { Reaper } from './reaper.ts'
import { type Exit, preload, type Runner, type RunnerSettings } from './runner.ts'

const MEBIBYTE = 2 ** 20
/**
 * In characters; an error with its stack is the longest report. Parsing more would delay whoever waits for another app.
 */
const MAX_REPORT = MEBIBYTE / 4

/**
 * Starts an app in a process and a process group of its own, which `reaper` ends if the router dies.
 * @throws Error if the router has no file descriptors left for it
 */
export function startProcess(
  { setup, env, memoryLimit }: RunnerSettings,
  reaper: Reaper,
  cgroups: MemoryCgroups,
): Runner {
  const limit = memoryLimit === undefined ? [] : [`--max-old-space-size=${Math.ceil(memoryLimit / MEBIBYTE)}`]
  const child = spawn(process.execPath, [...limit, ...preload(env), setup.entry], {
    cwd: setup.appFolder,
    env: { ...env, [SETUP_VARIABLE]: JSON.stringify(setup) },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    // Ctrl-C in a terminal goes to a whole group, but apps must end after their requests.
    detached: true,
    windowsHide: true,
  })
  const exited = exitOf(child)
  if (!hasStreams(child)) throw new Error('no process can be started: too many open files')
  const channel = child.stdio[3] as Duplex
  const { pid } = child
  if (pid !== undefined) reaper.watch(pid)
  const tell = (order: Order): void => {
    if (channel.writable) channel.write(`${order}\n`)
  }
  const isLimited = pid !== undefined && memoryLimit !== undefined
  const cgroup = isLimited ? cgroups.limit(pid, memoryLimit) : undefined
  // The process waits for this order: what it started before the limit would stay without one.
  if (cgroup) void cgroup.then(() => tell('begin'))
  else tell('begin')
  for (const handle of [child, child.stdout, child.stderr, channel]) (handle as unknown as Socket).unref()
  const runner: Runner = {
    pid: pid ?? null,
    threadId: null,
    stdout: child.stdout as Readable,
    stderr: child.stderr as Readable,
    onReport: undefined,
    exited: exited.finally(() => {
      if (pid !== undefined) reaper.forget(pid)
      void cgroup?.then(made => made?.remove())
    }),
    order: tell,
    end: () => void child.kill('SIGTERM'),
    kill: () => killGroup(child),
  }
  const take = (line: string): void => {
    const report = parseReport(line)
    if (report) runner.onReport?.(report)
  }
  readLines(channel, MAX_REPORT, take, nextTurn)
  return runner
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise(resolve => {
    child.once('error', error => resolve({ code: null, signal: null, error }))
    child.once('exit', (code, signal) => {
      // The processes that the app itself started go with it.
      killGroup(child)
      const exit = { code, signal, error: undefined }
      void lastLines([child.stdout as Readable, child.stderr as Readable]).then(() => resolve(exit))
    })
  })
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // No such group is left.
  }
}

/** The app may write to that descriptor, too. */
function parseReport(line: string): Report | undefined {
  try {
    const report: unknown = JSON.parse(line)
    return isReport(report) ? report : undefined
  } catch {
    return undefined
  }
}
