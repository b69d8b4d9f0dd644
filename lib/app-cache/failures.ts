import { inspect } from 'node:util'
import { LRUCache } from 'lru-cache'
import { VhostError, type VhostErrorCode } from '../errors.ts'
import type { Release } from '../release.ts'

/**
 * The first and the longest pause between two attempts at a release that does not load, in milliseconds. The first is
 * short: what was missing may have been on its way, in a folder that the version does not cover.
 */
const FIRST_BACKOFF = 100
const MAX_BACKOFF = 30 * 1000
/**
 * The least number of failures that are remembered. With a large `maxApps` it is two for each app, since an app that
 * serves on may have a newer release that was refused.
 */
const LEAST_FAILURES = 1000
/** Failures that no file arriving a moment later can mend. */
const SETTLED: ReadonlySet<VhostErrorCode> = new Set(['ERR_VHOST_LOAD_TIMEOUT', 'ERR_VHOST_CRASHED'])

/** A release that failed to load, and why. */
export interface Failure {
  readonly release: Release
  readonly error: VhostError
  readonly attempts: number
  /** When this version was first refused. */
  readonly since: Date
  /** When the same version may be tried again, by `performance.now()`. */
  readonly retryAt: number
  /** How many requests the app that serves instead had seen by then. */
  readonly requestsThen: number
}

/** Why the newest releases of some real paths do not serve, and when each may be tried again. */
export class Failures {
  readonly #firstBackoff: number
  readonly #byRealPath: LRUCache<string, Failure>

  constructor(updateInterval: number, maxApps: number) {
    // A refused release that was forgotten would be tried and reported anew at each comparison, and pass for one that
    // serves.
    this.#byRealPath = new LRUCache({ max: Math.max(LEAST_FAILURES, 2 * maxApps) })
    this.#firstBackoff = Math.min(FIRST_BACKOFF, updateInterval)
  }

  get all(): Failure[] {
    return [...this.#byRealPath.values()]
  }

  /** The failure of a real path, whatever its version. */
  peek(realPath: string): Failure | undefined {
    return this.#byRealPath.peek(realPath)
  }

  /** The failure of this very version. */
  of({ realPath, version }: Release): Failure | undefined {
    const failure = this.#byRealPath.get(realPath)
    return failure && Object.is(failure.release.version, version) ? failure : undefined
  }

  /** Milliseconds until a release may be tried; 0: now. */
  pauseBefore(release: Release): number {
    return Math.max(0, (this.of(release)?.retryAt ?? 0) - performance.now())
  }

  /**
   * Whether a load that began before a request may have failed only because of what was on disk earlier: a file that
   * was deployed below the app folder since then changes no version. True only after the first failure of a version, or
   * an app that does not load would be loaded without a pause for as long as it is asked for.
   */
  mayHaveMissed({ realPath }: Release): boolean {
    const failure = this.#byRealPath.get(realPath)
    return failure?.attempts === 1 && !SETTLED.has(failure.error.code)
  }

  /** Notes that a release failed, for the first time or once more; returns whether that is news. */
  note(release: Release, error: VhostError, requestsThen: number): boolean {
    const before = this.of(release)
    const attempts = (before?.attempts ?? 0) + 1
    const backoff = Math.min(this.#firstBackoff * 2 ** (attempts - 1), MAX_BACKOFF)
    this.#byRealPath.set(release.realPath, {
      release,
      error,
      attempts,
      since: before?.since ?? new Date(),
      retryAt: performance.now() + backoff,
      requestsThen,
    })
    return !before || !isAlike(before.error, error)
  }

  /** Holds back a release that crashed for `pause` milliseconds, or until the returned function is called. */
  hold(release: Release, pause: number): () => void {
    const { realPath } = release
    const failure = {
      release,
      error: new VhostError('ERR_VHOST_CRASHED', { retryAfter: Math.ceil(pause / 1000) }),
      attempts: 1,
      since: new Date(),
      retryAt: performance.now() + pause,
      requestsThen: 0,
    }
    this.#byRealPath.set(realPath, failure)
    return () => {
      if (this.peek(realPath) === failure) this.delete(realPath)
    }
  }

  delete(realPath: string): void {
    this.#byRealPath.delete(realPath)
  }
}

function isAlike(one: VhostError, other: VhostError): boolean {
  return (
    one.message === other.message && inspect(one.cause, { depth: 0 }) === inspect(other.cause, { depth: 0 })
  )
}
