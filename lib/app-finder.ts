import type { IncomingMessage } from 'node:http'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import { VhostError } from './errors.ts'
import type { Settings } from './options.ts'
import type { Refresher } from './refresher.ts'
import { isSameRelease, readRelease } from './release.ts'
import { makeInfo, tellVhost } from './vhost-info.ts'
import { locateVhost, type VhostLocation } from './vhost-path.ts'

/** How often a load that failed is tried again at once because what is on disk has changed meanwhile. */
const MAX_ATTEMPTS = 3

/** Finds on disk what the tables do not know, and has it loaded. */
export class AppFinder {
  readonly #settings: Settings
  readonly #apps: AppCache
  readonly #refresher: Refresher
  /** What static() and the router find on disk for one request, so that it is looked up once. */
  readonly #located = new WeakMap<IncomingMessage, Promise<VhostLocation | undefined>>()
  #isClosed = false

  constructor(settings: Settings, apps: AppCache, refresher: Refresher) {
    this.#settings = settings
    this.#apps = apps
    this.#refresher = refresher
  }

  /** The app of a name, held until `app.waiting--`; undefined: no such vhost, or no app in it. Rejects with a `VhostError`. */
  async find(hostname: string, host: string, req?: IncomingMessage): Promise<App | undefined> {
    try {
      const location = await (req ? this.locate(hostname, req) : locateVhost(hostname, this.#settings))
      if (!location) return undefined
      if (req) tellVhost(req, makeInfo({ hostname, ...location }, host))
      return await this.#acquire(location, hostname)
    } catch (error) {
      if (error instanceof VhostError) throw error
      this.#refresher.reportCold(hostname, error as Error)
      if (isForbidden(error)) return undefined
      throw unreadable(hostname, error)
    }
  }

  /** Where the folder of a name lies, looked up once for a request. Rejects as `locateVhost`. */
  locate(hostname: string, req: IncomingMessage): Promise<VhostLocation | undefined> {
    const known = this.#located.get(req)
    if (known) return known
    const locating = locateVhost(hostname, this.#settings)
    this.#located.set(req, locating)
    return locating
  }

  /** Tries no load again, and enters no name, from now on. */
  close(): void {
    this.#isClosed = true
  }

  async #acquire(location: VhostLocation, hostname: string, attempt = 1): Promise<App | undefined> {
    const { realPath } = location
    const release = await readRelease(location, this.#settings)
    if (!release) return undefined
    try {
      return await this.#apps.acquire(release, hostname)
    } catch (error) {
      // The load that failed may have begun before this request, with what is there no more.
      const failed = this.#apps.failure(realPath)?.release
      if (attempt >= MAX_ATTEMPTS || !failed || this.#isClosed) throw error
      if (isSameRelease(failed, await readRelease(location, this.#settings))) throw error
    } finally {
      const leadsSomewhere = this.#apps.peek(realPath) ?? this.#apps.failure(realPath)
      if (leadsSomewhere && !this.#isClosed) this.#refresher.found(hostname, { ...location, release })
    }
    return await this.#acquire(location, hostname, attempt + 1)
  }
}

/** A folder that may not be entered is kept from strangers as if it were not there. */
export function isForbidden(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EACCES'
}

export function unreadable(hostname: string, cause: unknown): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { hostname, detail: 'its folder cannot be read', cause })
}
