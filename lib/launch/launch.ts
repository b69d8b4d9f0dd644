import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Figures } from '../entry/messages.ts'
import type { VhostError } from '../errors.ts'
import type { EvictReason } from '../events.ts'
import type { Isolation } from '../options.ts'
import type { Release } from '../release.ts'
import type { VhostInfo } from '../vhost-info.ts'

export type Next = (error?: unknown) => void

/** What is called with a request; whatever it returns is awaited for errors only. */
export type Handle = (req: IncomingMessage, res: ServerResponse, next: Next) => unknown

/** Is given the Express app through which the next request came; undefined if it came through none. */
export type Mounted = (around: unknown) => void

export type Upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer) => unknown

/** Returns what requests to a release will find in `req.vhost`. */
export type FindInfo = () => Promise<VhostInfo>

/** What is known of the thread or process of an app. */
export interface UpstreamFigures extends Figures {
  readonly pid: number | null
  readonly threadId: number | null
}

/** How long an app's own `close()` may take, in milliseconds. */
export const CLOSE_TIMEOUT: number = 10 * 1000

/** A running app. The router does not know where it runs. */
export interface Launched {
  readonly isolation: Isolation
  readonly handle: Handle
  /** Called before a request that came another way than the one before; undefined if the app need not know. */
  readonly mounted?: Mounted | undefined
  /** Undefined if the app takes no upgrades. */
  readonly upgrade: Upgrade | undefined
  /** The names of the environment variables that it wrote, and that its neighbours now see. */
  readonly environmentWrites: readonly string[]
  /** Whether it leaves memory behind that no eviction gives back. */
  readonly isKeptByNode: boolean
  /** Settles with an error when the app has ended by itself; undefined if it cannot end without the router. */
  readonly crashed?: Promise<VhostError>
  /** Undefined for an app in this process. */
  figures?(): UpstreamFigures
  /** Is given a way to ask whether requests are in flight. */
  watch?(isBusy: () => boolean): void
  /** Lets go of the app; called once, when it has no request left. Rejects with what the app's own hook threw. */
  dispose(reason: EvictReason): Promise<void>
}

/**
 * Starts a release and, if it asks for a probe, probes it under a hostname that leads to it. `lastEntry` is where its
 * module was last found. Rejects with a `VhostError` if that fails; an app that arrives too late is disposed.
 */
export type Launch = (release: Release, hostname: string, lastEntry?: string) => Promise<Launched>
