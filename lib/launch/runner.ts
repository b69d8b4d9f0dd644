import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { importsBefore, type Order, PRELOADED, type Report, type Setup } from '../entry/messages.ts'
import { ownFile } from './own-file.ts'

/** No file: whose the process has become by then may not read ours. */
const TELL_PRELOADED = `data:text/javascript,globalThis[Symbol.for('${PRELOADED.description}')]()`

/** How a thread or a process has ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What it threw last, where that is known. */
  readonly error: unknown
}

export interface RunnerSettings {
  readonly setup: Setup
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>
  /** Bytes of heap. Undefined: Node's own limit. */
  readonly memoryLimit: number | undefined
}

/** A thread or a process in which one app runs. It keeps nothing of the router's process running. */
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
 * The flags of Node that have the app's side come first, and hear when all is there that the environment has Node import
 * before the app, which may take its time.
 */
export function preload({ NODE_OPTIONS }: RunnerSettings['env']): readonly string[] {
  const flags = ['--require', fileURLToPath(ownFile('../entry/boot.cjs', import.meta.url))]
  return importsBefore(NODE_OPTIONS) ? [...flags, '--import', TELL_PRELOADED] : flags
}
