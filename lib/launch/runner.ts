import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Order, Report, Setup } from '../entry/messages.ts'
import { ownFile } from './own-file.ts'

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

/** The flags of Node that have the app's side come first. */
export function preload(): readonly string[] {
  return ['--require', fileURLToPath(ownFile('../entry/boot.cjs', import.meta.url))]
}
