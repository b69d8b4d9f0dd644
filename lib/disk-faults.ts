import type { AppCache } from './app-cache.ts'
import { unreadable, VhostError } from './errors.ts'
import { debug, type Events } from './events.ts'
import { attempt, causeOf, codeOf } from './values/thrown.ts'
import type { Vhost } from './vhost-table.ts'

/** Milliseconds between two reports of one kind of fault, for hostnames that nothing serves. */
const COLD_PAUSE = 10 * 1000

/** Reports what is wrong with the disk, not with a release: the app that serves stays. Each fault is reported once. */
export class DiskFaults {
  readonly #apps: AppCache
  readonly #events: Events
  /** When each kind of fault was last reported for a hostname that nothing serves. */
  readonly #coldFaults = new Map<unknown, number>()
  #isClosed = false

  constructor(apps: AppCache, events: Events) {
    this.#apps = apps
    this.#events = events
  }

  /** From now on `guard()` reports nothing. */
  close(): void {
    this.#isClosed = true
  }

  /**
   * Does something for a hostname and reports what it throws, except a `VhostError`, which has been reported already.
   */
  async guard<T>(vhost: Vhost, act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act()
    } catch (error) {
      vhost.absence = undefined
      if (this.#isClosed) return undefined
      if (error instanceof VhostError) debug('%s: %s', vhost.hostname, error.message)
      else this.report(vhost, error as Error)
      return undefined
    }
  }

  /** Reports a fault of a hostname, and returns the error to reject with. */
  report(vhost: Vhost, cause: Error): VhostError {
    const { hostname, realPath } = vhost
    // Not the message: it names whichever of many paths was read first.
    const kind = codeOf(cause) ?? String(causeOf(cause))
    const error = unreadable(hostname, cause)
    if (vhost.fault?.kind === kind) return error
    vhost.fault = { kind, error, since: new Date() }
    this.#tellFault(hostname, realPath, error)
    return error
  }

  /**
   * Reports a fault of a hostname that nothing serves. Strangers choose those, so each kind is reported only now and
   * then.
   */
  reportCold(hostname: string, cause: Error): void {
    const kind = codeOf(cause) ?? attempt(() => cause.name)
    const now = performance.now()
    if (now - (this.#coldFaults.get(kind) ?? Number.NEGATIVE_INFINITY) < COLD_PAUSE) return
    this.#coldFaults.set(kind, now)
    this.#tellFault(hostname, '', unreadable(hostname, cause))
  }

  #tellFault(hostname: string, realPath: string, error: VhostError): void {
    const serving = this.#apps.peek(realPath)?.release
    this.#events.emit('error', { hostnames: [hostname], realPath, version: serving?.version, error, serving })
  }
}
