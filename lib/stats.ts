import { inspect } from 'node:util'
import type { App } from './app.ts'
import type { LastExit } from './app-cache/crashes.ts'
import type { Failure } from './app-cache/failures.ts'
import type { AppCache } from './app-cache.ts'
import type { UpstreamFigures } from './launch/launch.ts'
import type { Isolation } from './options.ts'
import { causeOf, shortened, stackOf } from './values/thrown.ts'
import type { VhostTable } from './vhost-table.ts'

/**
 * What a release is doing. `serving older` means that a newer one failed to load, or that its folder cannot be read.
 */
export type VhostState = 'loading' | 'serving' | 'serving older' | 'draining' | 'failed'

/**
 * A version as JSON can express it: anything but a text, a finite number or a boolean becomes what `inspect` writes.
 */
export type PlainVersion = string | number | boolean | null

export interface LastError {
  readonly code: string
  /** The message, which clients may see. */
  readonly message: string
  /** The error behind it, for the operator; may name paths. */
  readonly cause: string | null
  /** The stack of the cause; null if it has none. */
  readonly stack: string | null
  /** When this version was first refused, or the folder could not be read, in ISO 8601; null if it was not tried. */
  readonly since: string | null
  /** Which version was refused and, next, its real path; null if the error is about no release. */
  readonly version: PlainVersion
  readonly realPath: string | null
}

/** One app, or one release that failed to load. */
export interface AppStats {
  readonly hostnames: readonly string[]
  readonly realPath: string
  /** The version that serves; null if nothing does. */
  readonly version: PlainVersion
  readonly isolation: Isolation | null
  readonly state: VhostState
  readonly requests: number
  readonly inFlight: number
  /** Requests that ended in an error which the app passed on. */
  readonly errors: number
  readonly loadDurationMs: number | null
  /** When the app that serves was loaded, in ISO 8601; null if none does. */
  readonly loadedAt: string | null
  /** The id of its own process; null if it runs in the router's process or in a thread. */
  readonly pid: number | null
  /** The id of its thread; null if it has none. */
  readonly threadId: number | null
  /** Bytes: the resident memory of a process, or the heap of a thread as last reported. Null if it is not known. */
  readonly memory: number | null
  /** Milliseconds of processor time since it started; null if it is not known. */
  readonly cpu: number | null
  /** How often it has crashed and been restarted. */
  readonly restarts: number
  /** How it last ended by itself; null if it never did. */
  readonly lastExit: LastExit | null
  /** Why the newest release is not the one that serves; null if it is. */
  readonly lastError: LastError | null
}

/** What the router knows, as plain JSON. */
export interface VhostStats {
  readonly vhosts: readonly AppStats[]
  readonly totals: {
    readonly apps: number
    readonly draining: number
    readonly failed: number
    readonly hostnames: number
    readonly requests: number
    readonly inFlight: number
    readonly errors: number
  }
  /** ES module graphs that Node keeps although nothing uses them any more. */
  readonly staleGraphs: number
  /** Whether `close()` was called. */
  readonly isClosed: boolean
}

/** A failure to load, or a fault of the disk, which has no release. */
type Refusal = Pick<Failure, 'error' | 'since'> & { readonly release?: Failure['release'] }

const NO_FIGURES: UpstreamFigures = { pid: null, threadId: null, memory: null, cpu: null }

/** The figures of a release that does not run, beside its hostnames, real path and state. */
export const NOT_RUNNING: Omit<AppStats, 'hostnames' | 'realPath' | 'state'> = {
  version: null,
  isolation: null,
  ...NO_FIGURES,
  restarts: 0,
  lastExit: null,
  requests: 0,
  inFlight: 0,
  errors: 0,
  loadDurationMs: null,
  loadedAt: null,
  lastError: null,
}

/** `isolation` is that of releases not loaded yet; null if it is not known beforehand. */
export function collectStats(
  apps: AppCache,
  table: VhostTable,
  staleGraphs: number,
  isolation: Isolation | null,
  isClosed: boolean,
): VhostStats {
  const serving = apps.apps.map(app => ofApp(app, 'serving', apps, table))
  const draining = apps.draining.map(app => ofApp(app, 'draining', apps, table))
  const failed = apps.failures
    .map(failure => ofFailure(failure, apps, table, isolation))
    .filter(
      ({ realPath, hostnames }) => hostnames.length > 0 && !apps.peek(realPath) && !apps.isLoading(realPath),
    )
  const loading = apps.firstLoads.map(
    ({ release: { realPath }, hostnames }): AppStats => ({
      ...NOT_RUNNING,
      ...apps.crashesOf(realPath),
      hostnames,
      realPath,
      isolation,
      state: 'loading',
    }),
  )
  const running = [...serving, ...draining]
  return {
    vhosts: [...running, ...loading, ...failed],
    totals: {
      apps: serving.length,
      draining: draining.length,
      failed: failed.length,
      hostnames: table.size,
      requests: sum(running, 'requests'),
      inFlight: sum(running, 'inFlight'),
      errors: sum(running, 'errors'),
    },
    staleGraphs,
    isClosed,
  }
}

export function plainVersion(version: unknown): PlainVersion {
  if (version === undefined || version === null) return null
  if (typeof version === 'string' || typeof version === 'boolean' || Number.isFinite(version)) {
    return version as PlainVersion
  }
  return inspect(version, { customInspect: false, depth: 1, breakLength: Number.POSITIVE_INFINITY })
}

export function lastError({ error, release, since }: Refusal): LastError {
  return {
    code: error.code,
    message: shortened(error.message),
    cause: shortened(causeOf(error.cause)),
    stack: shortened(stackOf(error.cause)),
    since: since.toISOString(),
    version: plainVersion(release?.version),
    realPath: release?.realPath ?? null,
  }
}

function ofApp(app: App, state: 'serving' | 'draining', apps: AppCache, table: VhostTable): AppStats {
  const { realPath, version } = app.release
  const refusal = state === 'serving' ? refusalInstead(realPath, apps, table) : undefined
  return {
    hostnames: state === 'serving' ? table.hostnames(realPath) : [],
    realPath,
    version: plainVersion(version),
    isolation: app.isolation,
    ...(app.figures ?? NO_FIGURES),
    ...apps.crashesOf(realPath),
    state: refusal ? 'serving older' : state,
    requests: app.requests,
    inFlight: app.inFlight,
    errors: app.errors,
    loadDurationMs: app.loadDurationMs,
    loadedAt: app.loadedAt.toISOString(),
    lastError: refusal ? lastError(refusal) : null,
  }
}

function ofFailure(
  failure: Failure,
  apps: AppCache,
  table: VhostTable,
  isolation: Isolation | null,
): AppStats {
  const { realPath } = failure.release
  return {
    ...NOT_RUNNING,
    ...apps.crashesOf(realPath),
    hostnames: table.hostnames(realPath),
    realPath,
    isolation,
    state: 'failed',
    lastError: lastError(failure),
  }
}

/**
 * Why an app still serves although another release is on disk, at the same real path or at one that a hostname moved
 * to, or although nobody can tell what is there.
 */
function refusalInstead(realPath: string, apps: AppCache, table: VhostTable): Refusal | undefined {
  for (const hostname of table.hostnames(realPath)) {
    const vhost = table.peek(hostname)
    const refusal = apps.failure(vhost?.lastRead?.realPath ?? realPath) ?? vhost?.fault
    if (refusal) return refusal
  }
  return undefined
}

function sum(rows: readonly AppStats[], field: 'requests' | 'inFlight' | 'errors'): number {
  return rows.reduce((total, row) => total + row[field], 0)
}
