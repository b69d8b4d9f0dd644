import type { Readable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { isReport, SETUP_VARIABLE } from '../entry/messages.ts'
import { lastLines } from './output-lines.ts'
import { type Exit, preload, type Runner, type RunnerSettings } from './runner.ts'

const MEBIBYTE = 2 ** 20

/** Starts an app in a thread. The memory limit is best effort: V8 may end the whole process instead. */
export function startThread({ setup, env, memoryLimit }: RunnerSettings): Runner {
  const worker = new Worker(setup.entry, {
    env: { ...env, [SETUP_VARIABLE]: JSON.stringify(setup) },
    execArgv: [...preload(env)],
    stdout: true,
    stderr: true,
    ...(memoryLimit !== undefined && {
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(memoryLimit / MEBIBYTE) },
    }),
  })
  for (const stream of [worker.stdout, worker.stderr]) letProcessEnd(stream)
  let error: unknown
  worker.on('error', thrown => {
    error = thrown
  })
  const { threadId } = worker
  const runner: Runner = {
    pid: null,
    threadId,
    stdout: worker.stdout,
    stderr: worker.stderr,
    onReport: undefined,
    exited: new Promise<Exit>(resolve => {
      worker.once('exit', code => {
        const exit = { code, signal: null, error }
        void lastLines([worker.stdout, worker.stderr]).then(() => resolve(exit))
      })
    }),
    order: order => worker.postMessage({ order }),
    end: () => worker.postMessage({ order: 'end' }),
    kill: () => void worker.terminate(),
  }
  worker.on('message', (message: { expressVan?: unknown } | null) => {
    const report = message?.expressVan
    if (isReport(report)) runner.onReport?.(report)
  })
  worker.unref()
  return runner
}

/** A reader of a thread's output keeps the process alive, whatever `unref()` says; only this mark prevents it. */
function letProcessEnd(stream: Readable): void {
  const marks = Object.getOwnPropertySymbols(stream)
  const mark = marks.find(({ description }) => description === 'kIncrementsPortRef')
  if (mark) Object.assign(stream, { [mark]: false })
}
