import { realpath } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { dirname, join } from 'node:path'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import type { DiskFaults } from './disk-faults.ts'
import { unreadable, VhostError } from './errors.ts'
import type { Follower } from './follower.ts'
import { unlessGone } from './gone.ts'
import type { Settings } from './options.ts'
import { isSameRelease, type ReadRelease, readRelease } from './release.ts'
import { infoOf, makeInfo, tellVhost } from './vhost-info.ts'
import {
  locateVhost,
  type PathSettings,
  seekVhost,
  type VhostLocation,
  type VhostPlace,
} from './vhost-path.ts'
import type { VhostTable } from './vhost-table.ts'

/** How often a load that failed is tried again at once because what is on disk has changed meanwhile. */
const MAX_ATTEMPTS = 3

/** Of one hostname; neither where there is no such vhost. */
interface Located {
  readonly hostname: string
  readonly location?: VhostLocation | undefined
  readonly error?: unknown
}

type Keeping = Record<symbol, Located | undefined>

/** Finds on disk what the tables do not know, and has it loaded. */
export class AppFinder {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #apps: AppCache
  readonly #follower: Follower
  readonly #faults: DiskFaults
  /** By which a request is led: also to what serves others from the same folder. */
  readonly #paths: PathSettings
  /** Where a request keeps what static() or the router has found on disk for it, so that it is looked up once. */
  readonly #located = Symbol('express-van')
  #isClosed = false

  constructor(settings: Settings, table: VhostTable, apps: AppCache, follower: Follower, faults: DiskFaults) {
    this.#settings = settings
    this.#table = table
    this.#apps = apps
    this.#follower = follower
    this.#faults = faults
    this.#paths = { ...settings, servedFrom: vhostPath => follower.servedFrom(vhostPath) }
  }

  /** The app of a name, held until `app.waiting--`; undefined: no such vhost, or no app in it. Rejects with a `VhostError`. */
  async find(hostname: string, host: string, req?: IncomingMessage): Promise<App | undefined> {
    let location: VhostLocation | undefined
    try {
      location = await (req ? this.#locate(hostname, req) : locateVhost(hostname, this.#settings))
      if (!location) return undefined
      return await this.#acquire(location, hostname, host, req)
    } catch (error) {
      const kept = req && this.#keptFor(hostname, host, req)
      if (kept) return kept
      if (error instanceof VhostError) throw error
      this.#faults.reportCold(hostname, error as Error)
      if (isForbidden(error, location, this.#settings)) return undefined
      throw unreadable(hostname, error)
    }
  }

  /** From where a name is served now; undefined where no app serves it. `path`, where its folder lies, saves a look. */
  async servedPlace(hostname: string, path?: string): Promise<VhostPlace | undefined> {
    const place = this.#table.peek(hostname) ?? (await this.#placeOfOthers(hostname, path))
    return place && this.#apps.peek(place.realPath) && place
  }

  /** Whether the place on disk of what serves a name could not be read when it was looked at last. */
  isFaulty(hostname: string): boolean {
    return this.#table.peek(hostname)?.fault !== undefined
  }

  /** Looks on disk for the folder of a name, once for a request. */
  locate(hostname: string, req: IncomingMessage, done: (located: Located) => void): void {
    const kept = req as unknown as Keeping
    const known = kept[this.#located]
    // The router may ask for another name than static() did: whom an app around trusts may differ.
    if (known?.hostname === hostname && !this.#hasEnded(known.location)) {
      done(known)
      return
    }
    const found = (error: unknown, location?: VhostLocation): void => {
      const located = { hostname, error, location }
      kept[this.#located] = located
      done(located)
    }
    seekVhost(hostname, this.#paths, found, false)
  }

  /** Tries no load again, and enters no name, from now on. */
  close(): void {
    this.#isClosed = true
  }

  async #placeOfOthers(hostname: string, path: string | undefined): Promise<VhostPlace | undefined> {
    if (path !== undefined) return this.#follower.servedFrom(path)
    return await locateVhost(hostname, this.#paths).catch(() => undefined)
  }

  /** Whether what served others when a request was led to it has been replaced, or deleted, since. */
  #hasEnded(location: VhostLocation | undefined): boolean {
    return location?.isServing === true && !this.#apps.peek(location.realPath)
  }

  #locate(hostname: string, req: IncomingMessage): Promise<VhostLocation | undefined> {
    return new Promise((resolve, reject) => {
      this.locate(hostname, req, ({ error, location }) => (error ? reject(error) : resolve(location)))
    })
  }

  /** Of a release that serves, and is compared with the disk for another name, nothing is read for this one. */
  #lastRead(realPath: string): ReadRelease | undefined {
    const serving = this.#apps.peek(realPath)?.release
    return (
      serving && (this.#table.lastRead(realPath) ?? { ...serving, entry: undefined, entryStamp: undefined })
    )
  }

  /** What another request has had loaded for the name while this one waited for what does not load. */
  #keptFor(hostname: string, host: string, req: IncomingMessage): App | undefined {
    const vhost = this.#isClosed ? undefined : this.#table.get(hostname)
    const app = vhost && this.#apps.get(vhost.realPath)
    if (!app) return undefined
    tellVhost(req, infoOf(vhost, host))
    app.waiting++
    return app
  }

  /** Tells the request where it is looked for: a link may be flipped, and what it led to deleted, meanwhile. */
  async #acquire(
    location: VhostLocation,
    hostname: string,
    host: string,
    req: IncomingMessage | undefined,
    attempt = 1,
  ): Promise<App | undefined> {
    const { realPath } = location
    if (req) tellVhost(req, makeInfo({ hostname, ...location }, host))
    const release = this.#lastRead(realPath) ?? (await readRelease(location, this.#settings))
    let now: VhostLocation | undefined
    try {
      if (release) return await this.#apps.acquire(release, hostname)
      if (attempt >= MAX_ATTEMPTS || !(await leadsElsewhere(location))) return undefined
      now = await locateVhost(hostname, this.#settings)
    } catch (error) {
      // The load that failed may have begun before this request, with what is there no more.
      const failed = this.#apps.failure(realPath)?.release
      if (attempt >= MAX_ATTEMPTS || !failed || this.#isClosed) throw error
      now = await locateVhost(hostname, this.#settings)
      const isSame = now?.realPath === realPath
      if (now && isSame && isSameRelease(failed, await readRelease(now, this.#settings))) throw error
    } finally {
      const leadsSomewhere = release && (this.#apps.peek(realPath) ?? this.#apps.failure(realPath))
      // What serves others, and is away, is gone for good once no name is left: each would be another to wait for.
      const isAway = location.isServing && this.#table.sharing(location.vhostPath)?.absence !== undefined
      if (leadsSomewhere && !isAway && !this.#isClosed) {
        this.#follower.enterFound(hostname, { ...location, release }, req !== undefined)
      }
    }
    return now && (await this.#acquire(now, hostname, host, req, attempt + 1))
  }
}

async function leadsElsewhere({ vhostPath, realPath }: VhostLocation): Promise<boolean> {
  return (await unlessGone(realpath(vhostPath))) !== realPath
}

/**
 * A vhost's folder that may not be entered, or its app folder, is kept from strangers as if it were not there; what
 * lies in it and cannot be read is a fault. `location` is where the folder was found, unless that was forbidden.
 */
export function isForbidden(
  error: unknown,
  location: VhostLocation | undefined,
  { appDir }: Pick<Settings, 'appDir'>,
): boolean {
  const { code, syscall, path } = error as NodeJS.ErrnoException
  if (code !== 'EACCES') return false
  if (location === undefined) return true
  const { realPath } = location
  return syscall === 'stat' && [realPath, join(realPath, appDir)].includes(dirname(path ?? ''))
}
