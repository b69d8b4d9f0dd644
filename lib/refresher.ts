import { lstat, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import { unreadable, VhostError } from './errors.ts'
import { debug, type Events } from './events.ts'
import { unlessGone } from './gone.ts'
import type { Settings } from './options.ts'
import { isSameRelease, isUnchanged, type ReadRelease, readRelease } from './release.ts'
import { causeOf, codeOf } from './thrown.ts'
import { containsBasePath, locateVhost, type VhostLocation } from './vhost-path.ts'
import type { Vhost, VhostTable } from './vhost-table.ts'
import { addPlaces, type Places } from './watch-places.ts'
import { type Watched, Watcher } from './watcher.ts'

/**
 * What is gone once may be in the middle of being replaced. It is gone for good when seen so often in a row, over
 * 250 ms: of two looks alone, on a machine that was busy meanwhile, each could fall into an absence of its own.
 */
const GONE_LOOKS = 5
const GONE_PAUSE = 250 / (GONE_LOOKS - 1)
/** By so much a timer may fire before its time. */
const TIMER_EARLY = 5
/** Between two readings of a folder that is being changed in place. */
const SETTLE = 10
const MAX_READINGS = 20
const IN_TMP = ['restart.txt']
/** Of one name at a time: what hangs, and what comes instead of it. */
const MAX_FOLLOWED = 2
const COLD_PAUSE = 10 * 1000

/** What was found on disk for a name, now. */
export interface Found extends VhostLocation {
  readonly release: ReadRelease
}

interface Keeper {
  isComplete(vhost: Vhost): boolean
  placesOf(vhost: Vhost): Promise<Places>
}

/** A class, because there are thousands: a closure for each of its methods would be as large as itself. */
class WatchedVhost implements Watched {
  readonly above: string
  readonly #vhost: Vhost
  readonly #keeper: Keeper

  constructor(vhost: Vhost, keeper: Keeper) {
    this.above = dirname(vhost.realPath)
    this.#vhost = vhost
    this.#keeper = keeper
  }

  isComplete(): boolean {
    return this.#keeper.isComplete(this.#vhost)
  }

  places(): Promise<Places> {
    return this.#keeper.placesOf(this.#vhost)
  }
}

/** Keeps the names of the table and the apps behind them in line with what is on disk. */
export class Refresher {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #apps: AppCache
  readonly #events: Events
  readonly #watcher: Watcher
  readonly #keeper: Keeper = {
    isComplete: vhost => vhost.isFirstChoice && isWatchable(vhost.lastRead) && this.#isQuiet(vhost),
    placesOf: vhost => this.#placesOf(vhost),
  }
  /** The names in the folder of a vhost that matter. */
  readonly #names: readonly string[]
  /** The names whose app folder was away when it was to be watched. */
  readonly #unwatched = new WeakSet<Vhost>()
  /** Names whose release is let be for a while. */
  readonly #waiting = new Set<string>()
  /** To what names are being led. */
  readonly #followed = new Map<string, readonly Found[]>()
  /** When each kind of fault was last told of a name that nothing serves. */
  readonly #coldFaults = new Map<string, number>()
  #isClosed = false

  constructor(settings: Settings, table: VhostTable, apps: AppCache, events: Events) {
    this.#settings = settings
    this.#table = table
    this.#apps = apps
    this.#events = events
    this.#names = [firstPart(settings.appDir), 'package.json', 'tmp']
    this.#watcher = new Watcher(settings, hostname => this.#refresh(hostname))
  }

  /** Enters a name that leads somewhere and keeps an eye on it from now on. */
  enter(hostname: string, found: Found): Vhost {
    const known = this.#table.peek(hostname)
    const vhost: Vhost = {
      // What each request reads lies side by side.
      usedAt: 0,
      app: undefined,
      info: undefined,
      spelling: '',
      hostname,
      vhostPath: found.vhostPath,
      realPath: found.realPath,
      isFirstChoice: found.skipped === 0,
      captures: found.captures,
      readAt: found.readAt,
      lastRead: found.release,
      absence: undefined,
      fault: undefined,
    }
    this.#table.set(vhost)
    this.#watch(vhost)
    if (known && known.realPath !== found.realPath) this.#retireUnled(known.realPath)
    return vhost
  }

  /**
   * Enters a name for what a request has found, unless it leads to another app by now: this reading may be older, or of
   * a release that does not load.
   */
  found(hostname: string, found: Found): void {
    const known = this.#table.peek(hostname)
    if (known?.realPath === found.realPath) return
    const isKept = known && (known.readAt > found.readAt || !this.#apps.peek(found.realPath))
    if (isKept && this.#apps.peek(known.realPath)) {
      this.#retireUnled(found.realPath)
      return
    }
    this.enter(hostname, found)
  }

  /**
   * For whoever has loaded an app, or led a name away from one: where no name leads to it any more it goes, unless one
   * comes to it soon.
   */
  #retireUnled(realPath: string): void {
    const app = this.#apps.peek(realPath)
    if (!app || this.#table.hostnames(realPath).length > 0) return
    setTimeout(() => {
      if (this.#table.hostnames(realPath).length > 0) return
      if (this.#apps.peek(realPath) !== app || app.waiting > 0) this.#retireUnled(realPath)
      else this.#apps.retire(realPath, 'moved')
    }, this.#settings.updateInterval).unref()
  }

  /**
   * Loads what a name leads to beside what serves it, whatever the version says; undefined where nothing is there.
   * @throws VhostError
   */
  async reload(vhost: Vhost): Promise<App | undefined> {
    const { hostname, realPath } = vhost
    const read = (): Promise<Found | undefined> =>
      this.#read(vhost).catch(cause => {
        throw this.#report(vhost, cause)
      })
    let found = await read()
    if (found && found.realPath !== realPath && this.#apps.isLoading(found.realPath)) {
      await this.#apps.settle(found.realPath)
      found = await read()
    }
    const serving = this.#apps.peek(realPath)
    const known = this.#table.peek(hostname)
    // Re-pointed while this was read.
    if (known && known !== vhost) return await this.reload(known)
    if (!found || !serving) return undefined
    const present = this.#apps.peek(found.realPath)
    this.#apps.forgetFailure(found.realPath)
    const isTakenBack = found.realPath !== realPath && (await this.#move(vhost, serving, found))
    if (isTakenBack) return await this.reload(vhost)
    if (!present) return this.#apps.peek(this.#table.peek(hostname)?.realPath ?? found.realPath)
    const app = await this.#apps.replace(present, found.release, hostname, 'reloaded')
    for (const name of this.#table.hostnames(found.realPath)) this.#watcher.wake(name)
    this.#retireUnled(found.realPath)
    return app
  }

  /** Lets a name go. */
  leave(hostname: string): void {
    this.#table.delete(hostname)
    this.#watcher.unwatch(hostname)
  }

  close(): void {
    this.#isClosed = true
    this.#watcher.close()
  }

  #watch(vhost: Vhost): void {
    this.#watcher.watch(vhost.hostname, new WatchedVhost(vhost, this.#keeper))
  }

  /** Whether nothing is left to be done by time. */
  #isQuiet(vhost: Vhost): boolean {
    const { realPath, lastRead, absence, fault } = vhost
    const serving = this.#apps.peek(realPath)
    const isUpToDate = serving !== undefined && isSameRelease(serving.release, lastRead)
    const isThere = absence === undefined && !this.#unwatched.has(vhost)
    return isUpToDate && isThere && fault === undefined
  }

  async #placesOf(vhost: Vhost): Promise<Places> {
    const { vhostPath, lastRead } = vhost
    const { appDir } = this.#settings
    const places: Places = new Map()
    if (await addPlaces(places, join(vhostPath, appDir))) this.#unwatched.delete(vhost)
    else this.#unwatched.add(vhost)
    await addPlaces(places, vhostPath, this.#names)
    await addPlaces(places, join(vhostPath, 'tmp'), IN_TMP)
    const entry = lastRead?.entry
    // `main` may lie in a folder below, or be a link.
    for (const file of entry ? [entry, await unlessGone(realpath(entry))] : []) {
      if (file) await addPlaces(places, dirname(file), [basename(file)])
    }
    return places
  }

  /** Reads what is there now, and begins what is to be done about it, if anything. */
  async #refresh(hostname: string): Promise<void> {
    const vhost = this.#table.peek(hostname)
    if (!vhost || (await this.#isAsRead(vhost))) return
    await this.#guard(vhost, async () => {
      const found = await this.#read(vhost)
      const isAway = !found || (await isPassedOver(vhost, found))
      if (isAway && !(await this.#isGoneForGood(vhost))) return
      if (this.#table.peek(hostname) !== vhost) return
      if (!found) {
        this.drop(vhost)
        return
      }
      // By another link, or another pattern, to the same release: its path, and what it captures, are others.
      if (found.realPath === vhost.realPath && found.vhostPath !== vhost.vhostPath) {
        this.enter(hostname, found)
        this.#watcher.wake(hostname)
        return
      }
      // While it was away there was nothing to watch.
      const isBack = vhost.absence !== undefined || this.#unwatched.has(vhost) || vhost.fault !== undefined
      vhost.fault = undefined
      if (!isAway) vhost.absence = undefined
      const isNew = !isSameRelease(vhost.lastRead, found.release)
      vhost.lastRead = found.release
      if (isNew || isBack || !this.#isQuiet(vhost)) void this.#followOnce(vhost, found, isNew || isBack)
    })
  }

  /**
   * A load may hang, and what is deployed, taken back or deleted meanwhile must be seen: so it is not waited for. What
   * is followed already needs nobody else; of two that are followed at once the later reading counts, and a third is
   * left to the next comparison.
   */
  async #followOnce(vhost: Vhost, found: Found, isNews: boolean): Promise<void> {
    const { hostname } = vhost
    const followed = this.#followed.get(hostname) ?? []
    if (followed.length >= MAX_FOLLOWED) return
    if (followed.some(({ release }) => isSameRelease(release, found.release))) return
    this.#followed.set(hostname, [...followed, found])
    await this.#guard(vhost, () => this.#follow(vhost, found))
    const left = this.#followed.get(hostname)?.filter(one => one !== found) ?? []
    if (left.length > 0) this.#followed.set(hostname, left)
    else this.#followed.delete(hostname)
    // Also where it does not load: what is watched then is what may be mended.
    if (isNews && this.#table.peek(hostname) === vhost) this.#watch(vhost)
  }

  /** Whether a look tells that nothing has changed, of what lies where the first pattern leads. */
  async #isAsRead(vhost: Vhost): Promise<boolean> {
    const { realPath, vhostPath, isFirstChoice, lastRead } = vhost
    const { basePath, getVhostPath, getVersion } = this.#settings
    if (getVhostPath || getVersion || !isFirstChoice || !lastRead || !this.#isQuiet(vhost)) return false
    if (!(await isUnchanged(lastRead, vhostPath, this.#settings))) return false
    const isBelow = realPath.startsWith(basePath + sep)
    if (!isBelow && (await containsBasePath(realPath, basePath).catch(() => true))) return false
    return vhost.lastRead === lastRead && this.#isQuiet(vhost)
  }

  async #guard<T>(vhost: Vhost, act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act()
    } catch (error) {
      vhost.absence = undefined
      if (this.#isClosed) return undefined
      if (error instanceof VhostError) debug('%s: %s', vhost.hostname, error.message)
      else this.#report(vhost, error as Error)
      return undefined
    }
  }

  async #read({ hostname, lastRead }: Vhost): Promise<Found | undefined> {
    const location = await locateVhost(hostname, this.#settings, true)
    const release = location && (await readRelease(location, this.#settings, lastRead))
    return location && release && { ...location, release }
  }

  /** Follows what was found: nothing new, a changed release, or another one. */
  async #follow(vhost: Vhost, found: Found): Promise<void> {
    const { hostname, realPath } = vhost
    const serving = this.#apps.peek(realPath)
    if (!serving) return await this.#mend(vhost, found)
    if (isSameRelease(serving.release, found.release)) return
    // Two generations at a time: a third waits until the first has drained, and finds what is there then.
    if (serving.predecessor) {
      void serving.predecessor.then(() => this.#watcher.wake(hostname))
      return
    }
    const pause = found.realPath === realPath ? this.#apps.pauseBeforeReload(realPath) : 0
    if (pause > 0) {
      this.#wakeAfter(hostname, pause)
      return
    }
    const settled = await this.#settled(vhost, found)
    if (!settled || this.#table.peek(hostname) !== vhost || this.#apps.peek(realPath) !== serving) return
    debug('%s: another release is there', hostname)
    if (settled.realPath === realPath) {
      // Of the names that share a release, the first to see the change has it replaced for all.
      if (isSameRelease(serving.release, settled.release)) return
      if (this.#apps.isLoading(realPath)) {
        await this.#apps.settle(realPath)
        this.#watcher.wake(hostname)
        return
      }
      await this.#apps.replace(serving, settled.release, hostname, 'changed')
      this.#retireUnled(realPath)
    } else {
      await this.#move(vhost, serving, settled)
    }
  }

  #wakeAfter(hostname: string, milliseconds: number): void {
    if (this.#waiting.has(hostname)) return
    this.#waiting.add(hostname)
    setTimeout(() => {
      this.#waiting.delete(hostname)
      this.#watcher.wake(hostname)
    }, milliseconds + TIMER_EARLY).unref()
  }

  /** Tries a release again that failed while nothing serves, when it has changed; requests try by time. */
  async #mend(vhost: Vhost, found: Found): Promise<void> {
    const failure = this.#apps.failure(vhost.realPath)
    // Where none is known a request is about to load it, or reload() is.
    if (!failure || isSameRelease(failure.release, found.release)) return
    const settled = await this.#settled(vhost, found)
    if (!settled || this.#table.peek(vhost.hostname) !== vhost) return
    this.enter(vhost.hostname, settled)
    const app = await this.#apps.acquireOnce(settled.release, vhost.hostname)
    app.waiting--
    this.#retireUnled(settled.realPath)
  }

  /**
   * Leads one name to another release; the app behind it goes when no other name leads there. Resolves to whether that
   * was taken back while the release was loaded, and the name stays where it was.
   */
  async #move(vhost: Vhost, serving: App, found: Found): Promise<boolean> {
    const { hostname } = vhost
    const present = this.#apps.peek(found.realPath)
    let isTakenBack = false
    const isWanted = async (): Promise<boolean> => {
      isTakenBack = !(await this.#leadsStill(hostname, found))
      return !isTakenBack
    }
    const app = present ?? (await this.#apps.replace(serving, found.release, hostname, 'moved', isWanted))
    if (isTakenBack) {
      // Another name may have come to it meanwhile.
      this.#retireUnled(found.realPath)
      this.#watcher.wake(hostname)
    }
    if (!app || isTakenBack) return isTakenBack
    const known = this.#table.peek(hostname)
    // Led elsewhere while this was loaded: the later reading counts, whichever load ends first.
    if (!known || (known !== vhost && known.readAt > found.readAt)) {
      this.#retireUnled(found.realPath)
      return false
    }
    if (present) {
      const about = { hostnames: [hostname], ...app.release, durationMs: 0 }
      this.#events.emit('reload', { ...about, previous: serving.release })
    }
    this.enter(hostname, found)
    if (this.#table.hostnames(known.realPath).length === 0)
      this.#apps.retire(known.realPath, 'moved', [hostname], app)
    return false
  }

  /** Whether a name leads there after a load as it did before: what was taken back meanwhile must not serve. */
  async #leadsStill(hostname: string, { realPath }: Found): Promise<boolean> {
    try {
      return (await locateVhost(hostname, this.#settings, true))?.realPath === realPath
    } catch {
      // Where the disk cannot tell, as it was read before.
      return true
    }
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

  /** Whether nothing was at the place of a name for long enough. */
  async #isGoneForGood(vhost: Vhost): Promise<boolean> {
    const { basePath } = this.#settings
    // Rejects where it is missing: a fault to report, not the deletion of everything.
    if (vhost.vhostPath.startsWith(basePath + sep)) await stat(basePath)
    const now = performance.now()
    const { looks, last } = vhost.absence ?? { looks: 0, last: Number.NEGATIVE_INFINITY }
    if (now - last < GONE_PAUSE) return false
    vhost.absence = { looks: looks + 1, last: now }
    setTimeout(() => this.#watcher.wake(vhost.hostname), GONE_PAUSE + TIMER_EARLY).unref()
    return looks + 1 >= GONE_LOOKS
  }

  /** Lets a name go that leads nowhere any more, and its app where no other one leads there. */
  drop({ hostname, realPath }: Vhost): void {
    this.leave(hostname)
    if (this.#table.hostnames(realPath).length > 0) return
    this.#apps.forgetFailure(realPath)
    this.#apps.retire(realPath, 'deleted', [hostname])
  }

  /** Tells of a fault of a name that nothing serves: strangers choose those, so each kind is told now and then. */
  reportCold(hostname: string, cause: Error): void {
    const kind = (cause as NodeJS.ErrnoException).code ?? cause.name
    const now = performance.now()
    if (now - (this.#coldFaults.get(kind) ?? Number.NEGATIVE_INFINITY) < COLD_PAUSE) return
    this.#coldFaults.set(kind, now)
    this.#tellFault(hostname, '', unreadable(hostname, cause))
  }

  /** Tells that something is wrong with the disk, not with the release: what serves stays. */
  #report(vhost: Vhost, cause: Error): VhostError {
    const { hostname, realPath } = vhost
    // Not the message: it names whichever of many paths was read first.
    const fault = codeOf(cause) ?? String(causeOf(cause))
    const error = unreadable(hostname, cause)
    if (vhost.fault === fault) return error
    vhost.fault = fault
    this.#tellFault(hostname, realPath, error)
    return error
  }

  #tellFault(hostname: string, realPath: string, error: VhostError): void {
    const serving = this.#apps.peek(realPath)?.release
    this.#events.emit('error', { hostnames: [hostname], realPath, version: serving?.version, error, serving })
  }
}

/**
 * Whether a name leads elsewhere only because nothing is at its own place: it may be in the middle of being replaced,
 * and must not show the catch-all meanwhile.
 */
async function isPassedOver(vhost: Vhost, found: Found): Promise<boolean> {
  if (found.skipped === 0 || found.vhostPath === vhost.vhostPath) return false
  return (await unlessGone(lstat(vhost.vhostPath))) === undefined
}

/** Whether its places are known: not with `getVersion`, nor where its `main` is yet to come. */
function isWatchable(release: ReadRelease | undefined): boolean {
  return release?.entryStamp !== undefined
}

function firstPart(path: string): string {
  return path.split('/')[0] as string
}
