import { setTimeout as delay } from 'node:timers/promises'
import type { App } from './app.ts'
import type { AppCache } from './app-cache.ts'
import type { DiskFaults } from './disk-faults.ts'
import { debug, type Events } from './events.ts'
import { type Found, leadsStill, readFound } from './follower/found.ts'
import { GoneNames } from './follower/gone-names.ts'
import { SideBySide } from './follower/side-by-side.ts'
import type { Settings } from './options.ts'
import { isSameRelease, type Release } from './release.ts'
import type { Vhost, VhostTable } from './vhost-table.ts'
import type { VhostWatch } from './vhost-watch.ts'

/** Milliseconds between two readings of a folder that is being changed in place. */
const SETTLE = 10
const MAX_READINGS = 20
/** For one hostname at a time: a load that hangs, and what comes instead of it. */
const MAX_FOLLOWED = 2

/** Leads hostnames to the releases found on disk for them, and has those loaded. */
export class Follower {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #apps: AppCache
  readonly #events: Events
  readonly #faults: DiskFaults
  readonly #watch: VhostWatch
  readonly #vacated: (path: string) => void
  /** Hostnames whose changed release is left alone for a while. */
  readonly #waiting = new Set<string>()
  readonly #vhosts = new SideBySide<Vhost>()
  /** What each hostname is being led to. */
  readonly #followed = new Map<string, readonly Found[]>()
  readonly #gone = new GoneNames()

  /** `vacated` is called with each vhost path that was deleted, once no hostname is served from it any more. */
  constructor(
    settings: Settings,
    table: VhostTable,
    apps: AppCache,
    events: Events,
    faults: DiskFaults,
    watch: VhostWatch,
    vacated: (path: string) => void,
  ) {
    this.#settings = settings
    this.#table = table
    this.#apps = apps
    this.#events = events
    this.#faults = faults
    this.#watch = watch
    this.#vacated = vacated
  }

  /** Enters a hostname that leads somewhere, and watches it from now on. */
  enter(hostname: string, found: Found): void {
    const known = this.#table.peek(hostname)
    const vhost = this.#vhosts.copy({
      // The fields that each request reads come first.
      usedAt: 0,
      app: undefined,
      info: undefined,
      spelling: '',
      hostname,
      vhostPath: found.vhostPath,
      realPath: found.realPath,
      identity: found.identity,
      isExact: found.isExact,
      isFirstChoice: found.skipped === 0,
      captures: found.captures,
      readAt: found.readAt,
      lastRead: found.release,
      absence: undefined,
      fault: undefined,
    })
    this.#table.set(vhost)
    this.#watch.watch(vhost)
    if (known && known.realPath !== found.realPath) this.#retireUnled(known.realPath)
  }

  /**
   * Enters a hostname for what was found while it was not known, unless it leads to another app by now: this reading
   * may be older, or of a release that does not load. A hostname known only from clients, `isStrange`, may be any of
   * those that a wildcard leads to one release, and is entered only if there is room.
   */
  enterFound(hostname: string, found: Found, isStrange: boolean): void {
    const known = this.#table.peek(hostname)
    if (known?.realPath === found.realPath) return
    const isKept = known && (known.readAt > found.readAt || !this.#apps.peek(found.realPath))
    const isReserved = this.#settings.reserved?.has(hostname)
    if (isReserved || (isKept && this.#apps.peek(known.realPath))) {
      this.#retireUnled(found.realPath)
      return
    }
    if (known || !isStrange || this.#table.hasRoomFor(found)) this.enter(hostname, found)
  }

  /** Forgets a hostname. */
  leave(hostname: string): void {
    this.#table.delete(hostname)
    this.#watch.unwatch(hostname)
  }

  /** The entry by which hostnames that a wildcard leads to a folder are served, whatever is in the folder now. */
  servedFrom(vhostPath: string): Vhost | undefined {
    const vhost = this.#table.sharing(vhostPath)
    return vhost && this.#apps.peek(vhost.realPath) && vhost
  }

  /** Forgets a hostname that leads nowhere any more, and retires its app if no other one leads there. */
  drop({ hostname, vhostPath, realPath, lastRead }: Vhost): void {
    this.leave(hostname)
    if (lastRead) this.#apps.forgetUnled(lastRead.realPath)
    const others = this.#table.hostnames(realPath)
    if (!others.some(name => this.#table.peek(name)?.vhostPath === vhostPath)) this.#vacated(vhostPath)
    const app = this.#apps.peek(realPath)
    const gone = app && this.#gone.note(app, hostname, name => this.#table.peek(name) !== undefined)
    if (others.length === 0) this.#apps.retire(realPath, 'deleted', gone)
  }

  /** If a hostname leads to `left` no longer, forgets that it was refused: it is tried when it is deployed again. */
  leaveRefused({ realPath, lastRead }: Vhost, left: Release): void {
    if (isSameRelease(lastRead, left) || !this.#apps.failure(left.realPath)) return
    const serving = this.#apps.peek(left.realPath)
    const isBack = left.realPath === realPath && isSameRelease(serving?.release, lastRead)
    // An app may serve a hostname only until the release that it leads to now is loaded.
    const leads = (name: string) => !serving || this.#table.peek(name)?.lastRead?.realPath === left.realPath
    if (isBack || !this.#table.hostnames(left.realPath).some(leads)) this.#apps.forgetFailure(left.realPath)
  }

  /**
   * Loads what a hostname leads to, beside the app that serves it and whatever the version says; undefined if nothing
   * is there.
   * @throws VhostError
   */
  async reload(vhost: Vhost): Promise<App | undefined> {
    const { hostname, realPath } = vhost
    const read = (): Promise<Found | undefined> =>
      readFound(vhost, this.#settings).catch(cause => {
        throw this.#faults.report(vhost, cause)
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
    const app = await this.#apps.replace(found.release, hostname, { serving: present, reason: 'reloaded' })
    for (const name of this.#table.hostnames(found.realPath)) this.#watch.wake(name)
    this.#retireUnled(found.realPath)
    return app
  }

  /**
   * Leads a hostname to what was found. Comparisons do not wait for it: a load may hang, and what is deployed, taken
   * back or deleted meanwhile must be seen. A release that is being followed already is not followed twice. Of two
   * followed at once the later reading counts, and a third is left to the next comparison.
   */
  async follow(vhost: Vhost, found: Found, isNews: boolean): Promise<void> {
    const { hostname } = vhost
    const followed = this.#followed.get(hostname) ?? []
    if (followed.length >= MAX_FOLLOWED) return
    if (followed.some(({ release }) => isSameRelease(release, found.release))) return
    this.#followed.set(hostname, [...followed, found])
    await this.#faults.guard(vhost, () => this.#lead(vhost, found))
    this.leaveRefused(vhost, found.release)
    const left = this.#followed.get(hostname)?.filter(one => one !== found)
    if (left?.length) this.#followed.set(hostname, left)
    else this.#followed.delete(hostname)
    // Even if it does not load: the files watched then are those that may be mended.
    if (isNews && this.#table.peek(hostname) === vhost) this.#watch.watch(vhost)
  }

  /** Leads a hostname to what was found: nothing new, a changed release, or another one. */
  async #lead(vhost: Vhost, found: Found): Promise<void> {
    const { hostname, realPath } = vhost
    const serving = this.#apps.peek(realPath)
    if (!serving) return await this.#mend(vhost, found)
    if (isSameRelease(serving.release, found.release)) return
    // At most two generations at a time: a third waits until the first has drained, and takes what is there then.
    if (serving.predecessor) {
      void serving.predecessor.then(() => this.#watch.wake(hostname))
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
      // The first hostname to see the change has the release replaced for all that share it.
      if (isSameRelease(serving.release, settled.release)) return
      if (this.#apps.isLoading(realPath)) {
        await this.#apps.settle(realPath)
        this.#watch.wake(hostname)
        return
      }
      // By then the vhost may be deleted, or its app evicted: this one would cost another site its place.
      const isWanted = async (): Promise<boolean> => this.#table.hostnames(realPath).length > 0
      await this.#apps.replace(settled.release, hostname, { serving, reason: 'changed', isWanted })
      this.#retireUnled(realPath)
    } else {
      await this.#move(vhost, serving, settled)
    }
  }

  #wakeAfter(hostname: string, milliseconds: number): void {
    if (this.#waiting.has(hostname)) return
    this.#waiting.add(hostname)
    void this.#watch.wakeAfter(hostname, milliseconds).then(() => this.#waiting.delete(hostname))
  }

  /** Tries a failed release again when it has changed and nothing serves; requests try again by time. */
  async #mend(vhost: Vhost, found: Found): Promise<void> {
    const failure = this.#apps.failure(vhost.realPath)
    // If no failure is known, a request is about to load it, or reload() is.
    if (!failure || isSameRelease(failure.release, found.release)) return
    const settled = await this.#settled(vhost, found)
    if (!settled || this.#table.peek(vhost.hostname) !== vhost) return
    this.enter(vhost.hostname, settled)
    const app = await this.#apps.acquireOnce(settled.release, vhost.hostname)
    app.letGo()
    this.#retireUnled(settled.realPath)
  }

  /**
   * Leads one hostname to another release; the app that it leaves is retired when no other hostname leads there.
   * Resolves to whether that was taken back while the release was loaded, so that the hostname stays where it was.
   */
  async #move(vhost: Vhost, serving: App, found: Found): Promise<boolean> {
    const { hostname } = vhost
    const present = this.#apps.peek(found.realPath)
    let isTakenBack: boolean | undefined
    const isWanted = async (): Promise<boolean> => {
      isTakenBack = !(await leadsStill(hostname, found, this.#settings))
      return !isTakenBack && this.#table.peek(hostname) !== undefined
    }
    const app =
      present ?? (await this.#apps.replace(found.release, hostname, { serving, reason: 'moved', isWanted }))
    // A load that this hostname joined at its very end has not asked.
    if (app && !present && isTakenBack === undefined) await isWanted()
    if (isTakenBack) {
      // The release may have been loaded all the same, for another hostname that came to it meanwhile.
      this.#retireUnled(found.realPath)
      this.#watch.wake(hostname)
    }
    if (!app || isTakenBack) return isTakenBack === true
    const known = this.#table.peek(hostname)
    // The hostname was led elsewhere while this was loaded: the later reading counts, whichever load ends first.
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

  /** Reads until two readings in a row agree: a version counts only then. */
  async #settled(vhost: Vhost, first: Found): Promise<Found | undefined> {
    let before = first
    for (let reading = 0; reading < MAX_READINGS; reading++) {
      // A link is flipped in one step; a folder is changed file by file.
      if (before.realPath === vhost.realPath) await delay(SETTLE, undefined, { ref: false })
      const now = await readFound(vhost, this.#settings)
      if (!now) return undefined
      if (isSameRelease(before.release, now.release)) return now
      before = now
    }
    return undefined
  }

  /** Retires the app of a real path, which was loaded or left, if no hostname leads to it or comes to it soon. */
  #retireUnled(realPath: string): void {
    const app = this.#apps.peek(realPath)
    if (!app || this.#table.hostnames(realPath).length > 0) return
    setTimeout(() => {
      if (this.#table.hostnames(realPath).length > 0) return
      if (this.#apps.peek(realPath) !== app || app.isHeld) this.#retireUnled(realPath)
      else this.#apps.retire(realPath, 'moved')
    }, this.#settings.updateInterval).unref()
  }
}
