import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import { VhostError } from './errors.ts'
import { debug, type Events } from './events.ts'
import type { Settings } from './options.ts'
import { isSameRelease, type ReadRelease, readRelease } from './release.ts'
import { locateVhost, type VhostLocation } from './vhost-path.ts'
import type { Vhost, VhostTable } from './vhost-table.ts'
import { addPlaces, type Places } from './watch-places.ts'
import { Watcher } from './watcher.ts'

/** What is gone once may be in the middle of being replaced; gone counts when seen twice, this far apart. */
const GONE_AFTER = 250
/** Between two readings of a folder that is being changed in place. */
const SETTLE = 10
const MAX_READINGS = 20
const MAX_FAULTS = 1000

/** What was found on disk for a name, now. */
export interface Found extends VhostLocation {
  readonly release: ReadRelease
}

/** Keeps the names of the table and the apps behind them in line with what is on disk. */
export class Refresher {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #apps: AppCache
  readonly #events: Events
  readonly #watcher: Watcher
  /** The fault last reported of each name, so that it is told once. */
  readonly #faults = new Map<string, string>()

  constructor(settings: Settings, table: VhostTable, apps: AppCache, events: Events) {
    this.#settings = settings
    this.#table = table
    this.#apps = apps
    this.#events = events
    this.#watcher = new Watcher(settings, hostname => this.#refresh(hostname))
  }

  /** Enters a name that leads somewhere and keeps an eye on it from now on. */
  enter(hostname: string, found: Found): Vhost {
    const vhost: Vhost = {
      hostname,
      vhostPath: found.vhostPath,
      realPath: found.realPath,
      isFirstChoice: found.skipped === 0,
      lastRead: found.release,
    }
    this.#table.set(vhost)
    this.#watch(vhost)
    return vhost
  }

  /** Loads what a name leads to beside what serves it, whatever the version says; undefined where nothing is there. */
  async reload(vhost: Vhost): Promise<App | undefined> {
    const { hostname, realPath } = vhost
    const found = await this.#read(vhost)
    const serving = this.#apps.peek(realPath)
    if (!found || !serving) return undefined
    if (found.realPath !== realPath) {
      await this.#move(vhost, serving, found)
      return this.#apps.peek(found.realPath)
    }
    const app = await this.#apps.replace(serving, found.release, hostname, 'reloaded')
    this.#watchAll(realPath)
    return app
  }

  /** Lets a name go. */
  leave(hostname: string): void {
    this.#table.delete(hostname)
    this.#faults.delete(hostname)
    this.#watcher.unwatch(hostname)
  }

  close(): void {
    this.#watcher.close()
  }

  #watch(vhost: Vhost): void {
    const { appDir, getVersion } = this.#settings
    this.#watcher.watch(vhost.hostname, {
      isComplete: getVersion === undefined && vhost.isFirstChoice,
      places: async () => {
        const places: Places = new Map()
        await addPlaces(places, join(vhost.vhostPath, appDir))
        await addPlaces(places, vhost.vhostPath, [firstPart(appDir), 'package.json', 'tmp'])
        await addPlaces(places, join(vhost.vhostPath, 'tmp'), ['restart.txt'])
        return places
      },
    })
  }

  async #refresh(hostname: string): Promise<void> {
    const vhost = this.#table.peek(hostname)
    if (!vhost) return
    try {
      const found = await this.#read(vhost)
      if (this.#table.peek(hostname) !== vhost) return
      if (!found) return await this.#missing(vhost)
      this.#faults.delete(hostname)
      vhost.goneSince = undefined
      vhost.lastRead = found.release
      await this.#follow(vhost, found)
    } catch (error) {
      if (error instanceof VhostError) debug('%s: %s', hostname, error.message)
      else this.report(hostname, vhost.realPath, error as Error)
    }
  }

  async #read({ hostname, lastRead }: Vhost): Promise<Found | undefined> {
    const location = await locateVhost(hostname, this.#settings)
    const release = location && (await readRelease(location, this.#settings, lastRead))
    return location && release && { ...location, release }
  }

  /** Follows what was found: nothing new, a changed release, or another one. */
  async #follow(vhost: Vhost, found: Found): Promise<void> {
    const { hostname, realPath } = vhost
    const serving = this.#apps.peek(realPath)
    if (!serving) return await this.#mend(vhost, found)
    if (isSameRelease(serving.release, found.release)) return
    const settled = await this.#settled(vhost, found)
    if (!settled || this.#table.peek(hostname) !== vhost || this.#apps.peek(realPath) !== serving) return
    debug('%s: another release is there', hostname)
    if (settled.realPath === realPath) {
      // Of the names that share a release, the first to see the change has it replaced for all.
      if (isSameRelease(serving.release, settled.release)) return
      if (await this.#apps.replace(serving, settled.release, hostname, 'changed')) this.#watchAll(realPath)
    } else {
      await this.#move(vhost, serving, settled)
    }
  }

  /** Tries a release again that failed while nothing serves, when it has changed; requests try by time. */
  async #mend(vhost: Vhost, found: Found): Promise<void> {
    const failure = this.#apps.failure(vhost.realPath)
    if (failure && isSameRelease(failure.release, found.release)) return
    const settled = await this.#settled(vhost, found)
    if (!settled || this.#table.peek(vhost.hostname) !== vhost) return
    this.enter(vhost.hostname, settled)
    const app = await this.#apps.acquire(settled.release, vhost.hostname)
    app.waiting--
  }

  /** Leads one name to another release; the app behind it goes when no other name leads there. */
  async #move(vhost: Vhost, serving: App, found: Found): Promise<void> {
    const { hostname, realPath } = vhost
    const present = this.#apps.peek(found.realPath)
    const app = present ?? (await this.#apps.replace(serving, found.release, hostname, 'moved'))
    if (!app || this.#table.peek(hostname) !== vhost) return
    if (present) {
      const about = { hostnames: [hostname], ...app.release, durationMs: 0 }
      this.#events.emit('reload', { ...about, previous: serving.release })
    }
    this.enter(hostname, found)
    if (this.#table.hostnames(realPath).length === 0) this.#apps.retire(realPath, 'moved', [hostname])
  }

  /** Reads until two readings in a row agree: a version counts only then. */
  async #settled(vhost: Vhost, first: Found): Promise<Found | undefined> {
    let before = first
    for (let reading = 0; reading < MAX_READINGS; reading++) {
      // A link is flipped at once; a folder is changed file by file.
      if (before.realPath === vhost.realPath) await delay(SETTLE, undefined, { ref: false })
      const now = await this.#read(vhost)
      if (!now) return undefined
      if (isSameRelease(before.release, now.release)) return now
      before = now
    }
    return undefined
  }

  async #missing(vhost: Vhost): Promise<void> {
    const { hostname, realPath } = vhost
    // Rejects where it is missing: a fault to report, not the deletion of everything.
    await stat(this.#settings.basePath)
    const now = performance.now()
    vhost.goneSince ??= now
    if (now - vhost.goneSince < GONE_AFTER) {
      const remaining = GONE_AFTER - (now - vhost.goneSince)
      setTimeout(() => this.#watcher.wake(hostname), remaining + 1).unref()
      return
    }
    this.leave(hostname)
    if (this.#table.hostnames(realPath).length > 0) return
    this.#apps.forgetFailure(realPath)
    this.#apps.retire(realPath, 'deleted', [hostname])
  }

  #watchAll(realPath: string): void {
    for (const hostname of this.#table.hostnames(realPath)) {
      const vhost = this.#table.peek(hostname)
      if (vhost) this.#watch(vhost)
    }
  }

  /** Tells that something is wrong with the disk, not with the release: what serves stays. */
  report(hostname: string, realPath: string, cause: Error): void {
    const fault = String(cause)
    if (this.#faults.get(hostname) === fault) return
    this.#faults.set(hostname, fault)
    const [oldest] = this.#faults.keys()
    if (this.#faults.size > MAX_FAULTS && oldest !== undefined) this.#faults.delete(oldest)
    const serving = this.#apps.peek(realPath)?.release
    const error = new VhostError('ERR_VHOST_LOAD', { hostname, detail: 'its folder cannot be read', cause })
    this.#events.emit('error', { hostnames: [hostname], realPath, version: serving?.version, error, serving })
  }
}

function firstPart(path: string): string {
  return path.split('/')[0] as string
}
