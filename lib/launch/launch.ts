import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { EvictReason } from '../events.ts'
import type { Release } from '../release.ts'

export type Next = (error?: unknown) => void

/** What is called with a request; whatever it returns is awaited for errors only. */
export type Handle = (req: IncomingMessage, res: ServerResponse, next: Next) => unknown

export type Upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer) => unknown

/** An app that runs, wherever it runs. The router does not know where. */
export interface Launched {
  readonly handle: Handle
  /** Undefined where the app takes no upgrades. */
  readonly upgrade: Upgrade | undefined
  /** The names of the environment variables that it wrote, and that its neighbours now see. */
  readonly environmentWrites: readonly string[]
  /** Whether it leaves memory behind that no eviction gives back. */
  readonly isKeptByNode: boolean
  /** Lets go of the app; called once, when it has no request left. Rejects with what the app's own hook threw. */
  dispose(reason: EvictReason): Promise<void>
}

/**
 * Starts a release, and probes it where it says so, under a name that leads to it. Rejects with a `VhostError` where
 * that fails; what arrives too late is disposed.
 */
export type Launch = (release: Release, hostname: string) => Promise<Launched>
