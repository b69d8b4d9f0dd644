import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { importsBefore, type Order, PRELOADED, type Report, type Setup } from '../entry/messages.ts'
import { ownFile } from './own-file.ts'

/** Not a file: the user that the process has become by then may not be allowed to read ours. */
const TELL_PRELOADED = `data:text/javascript,globalThis[Symbol.for('${PRELOADED.description}')]()`

/** How a thread or process has ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What it threw last, if that is known. */
  readonly error: unknown
}

export interface RunnerSettings {
  readonly setup: Setup
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>
  /** Bytes of heap; undefined for Node's own limit. */
  readonly memoryLimit: number | undefined
}

/** A thread or process in which one app runs. It does not keep the router's process alive. */
export interface Runner {
  readonly pid: number | null
  readonly threadId: number | null
  readonly stdout: Readable
  readonly stderr: Readable
  /** Settles when it has ended; never rejects. */
  readonly exited: Promise<Exit>
  onReport: ((report: Report) => void) | undefined
  order(order: Order): void
  /** Asks it to end. */
  end(): void
  /** Ends it at once. */
  kill(): void
}

/**
 * The Node flags that make the app's side start first. They also tell it when everything is there that its environment
 * makes Node import before the app, which may take a while.
 */
export function preload({ NODE_OPTIONS }: RunnerSettings['env']): readonly string[] {
  const flags = ['--require', fileURLToPath(ownFile('../entry/boot.cjs', import.meta.url))]
  return importsBefore(NODE_OPTIONS) ? [...flags, '--import', TELL_PRELOADED] : flags
}
