import { realpath } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { dirname, join } from 'node:path'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import type { DiskFaults } from './disk-faults.ts'
import { unreadable, VhostError } from './errors.ts'
import { unlessGone } from './files/gone.ts'
import type { Follower } from './follower.ts'
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

/** How many attempts a request makes at most, one right after another, while what is on disk keeps changing. */
const MAX_ATTEMPTS = 3

/** What was found for one hostname; neither `location` nor `error` if there is no such vhost. */
interface Located {
  readonly hostname: string
  readonly location?: VhostLocation | undefined
  readonly error?: unknown
}

type Keeping = Record<symbol, Located | undefined>

/** Finds vhosts on disk that the table does not know, and has their apps loaded. */
export class AppFinder {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #apps: AppCache
  readonly #follower: Follower
  readonly #faults: DiskFaults
  /** For requests, which may also be led to a release that serves other hostnames from the same folder. */
  readonly #paths: PathSettings
  /**
   * Under this key a request keeps what static() or the router has found on disk for it, so that it is looked up once.
   */
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

  /**
   * The app of a hostname, held until `app.letGo()`; undefined if there is no such vhost or no app in it. Rejects
   * with a `VhostError`.
   */
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

  /**
   * Where a hostname is served from now; undefined if no app serves it. `path`, its vhost path if known, saves a look.
   */
  async servedPlace(hostname: string, path?: string): Promise<VhostPlace | undefined> {
    const place = this.#table.peek(hostname) ?? (await this.#placeOfOthers(hostname, path))
    return place && this.#apps.peek(place.realPath) && place
  }

  /** Whether the place on disk of a known hostname could not be read when it was last looked at. */
  isFaulty(hostname: string): boolean {
    return this.#table.peek(hostname)?.fault !== undefined
  }

  /** Looks on disk for the folder of a hostname, once per request. */
  locate(hostname: string, req: IncomingMessage, done: (located: Located) => void): void {
    const kept = req as unknown as Keeping
    const known = kept[this.#located]
    // The router may ask for another hostname than static() did: the Express apps around them may trust different
    // proxies.
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

  /** From now on retries no load and enters no hostname. */
  close(): void {
    this.#isClosed = true
  }

  async #placeOfOthers(hostname: string, path: string | undefined): Promise<VhostPlace | undefined> {
    if (path !== undefined) return this.#follower.servedFrom(path)
    return await locateVhost(hostname, this.#paths).catch(() => undefined)
  }

  /** Whether a release that served other hostnames when a request was led to it has stopped serving since. */
  #hasEnded(location: VhostLocation | undefined): boolean {
    return location?.isServing === true && !this.#apps.peek(location.realPath)
  }

  #locate(hostname: string, req: IncomingMessage): Promise<VhostLocation | undefined> {
    return new Promise((resolve, reject) => {
      this.locate(hostname, req, ({ error, location }) => (error ? reject(error) : resolve(location)))
    })
  }

  /**
   * A release that already serves is compared with the disk for other hostnames, so it is not read again for this one.
   */
  #lastRead(realPath: string): ReadRelease | undefined {
    const serving = this.#apps.peek(realPath)?.release
    return (
      serving && (this.#table.lastRead(realPath) ?? { ...serving, entry: undefined, entryStamp: undefined })
    )
  }

  /**
   * The app that another request has got loaded for the hostname, while this one waited for a release that does not
   * load.
   */
  #keptFor(hostname: string, host: string, req: IncomingMessage): App | undefined {
    const vhost = this.#isClosed ? undefined : this.#table.get(hostname)
    const app = vhost && this.#apps.get(vhost.realPath)
    if (!app) return undefined
    tellVhost(req, infoOf(vhost, host))
    app.hold()
    return app
  }

  /** Sets `req.vhost` at each attempt: meanwhile a link may be flipped, and its old target deleted. */
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
      // The load that failed may have begun before this request, with files that are no longer there.
      const failed = this.#apps.failure(realPath)?.release
      if (attempt >= MAX_ATTEMPTS || !failed || this.#isClosed) throw error
      now = await locateVhost(hostname, this.#settings)
      const isSame = now?.realPath === realPath
      if (now && isSame && isSameRelease(failed, await readRelease(now, this.#settings))) throw error
    } finally {
      // What is missing is gone for good once no hostname is left: each one entered now would have to be waited for, too.
      const isAway = this.#isMissed(location) && !(await this.#isThere(location))
      const leadsSomewhere = release && (this.#apps.peek(realPath) ?? this.#apps.failure(realPath))
      if (leadsSomewhere && !isAway && !this.#isClosed) {
        this.#follower.enterFound(hostname, { ...location, release }, req !== undefined)
      }
    }
    return now && (await this.#acquire(now, hostname, host, req, attempt + 1))
  }

  /** Whether a hostname that leads to the same release has last found nothing at its place. */
  #isMissed({ realPath, vhostPath, isServing }: VhostLocation): boolean {
    if (isServing) return this.#table.sharing(vhostPath)?.absence !== undefined
    return this.#table.hostnames(realPath).some(name => this.#table.peek(name)?.absence !== undefined)
  }

  /** Whether a release is there: what is missing may be the place of another hostname. */
  async #isThere(location: VhostLocation): Promise<boolean> {
    if (location.isServing) return false
    const release = await readRelease(location, this.#settings).catch(() => undefined)
    return release !== undefined
  }
}

async function leadsElsewhere({ vhostPath, realPath }: VhostLocation): Promise<boolean> {
  return (await unlessGone(realpath(vhostPath))) !== realPath
}

/**
 * Whether an error means that the vhost's folder or its app folder may not be entered: to strangers it is as if that
 * were not there. Anything inside that cannot be read is a fault instead. `location` is where the folder was found,
 * unless even that was forbidden.
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
