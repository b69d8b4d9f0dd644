import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { App } from './app.ts'
import { Chain } from './chain.ts'
import { Crashes, type LastExit } from './crashes.ts'
import { Endings } from './endings.ts'
import { VhostError } from './errors.ts'
import type { Events, EvictReason } from './events.ts'
import { type Failure, Failures } from './failures.ts'
import type { Flight } from './flight.ts'
import type { Launch } from './launch/launch.ts'
import { LoadQueue, type Urgency } from './load-queue.ts'
import { LoadedApps } from './loaded-apps.ts'
import type { Settings } from './options.ts'
import { isLack, PassingLacks } from './passing-lacks.ts'
import type { Release } from './release.ts'
import { RELOADS_A_MINUTE, ReloadRate } from './reload-rate.ts'
import type { Vhost } from './vhost-table.ts'
import { within } from './within.ts'

/** What a release is loaded beside, to serve instead of it. */
interface Replacement {
  readonly serving: App
  /** What the app that serves now will be evicted for. */
  readonly reason: EvictReason
  /** Whether the release is to serve still, now that it is loaded. Unset: it is. */
  readonly isWanted?: () => Promise<boolean>
}

/** The release was taken back while it loaded, and nobody else waits for it. */
class TakenBack extends Error {}

interface Load {
  readonly release: Release
  /** The names that wait for it; whoever began it is the first. */
  readonly hostnames: Set<string>
  /** Undefined for what nothing serves yet. */
  readonly replacing: Replacement | undefined
  readonly promise: Promise<App>
  /** Requests that wait for it. */
  waiting: number
  /** What has been loaded, and counts who waits from then on. */
  app?: App
}

interface AppCacheHooks {
  hostnamesOf(realPath: string): string[]
  /** Another app serves there from now on, or none. */
  switched(realPath: string): void
  /** An app left the cache for good: no name leads to it any more. */
  left(realPath: string): void
  /** An app has drained and is disposed. */
  ended(app: App): void
  /** An app that led from this name had crashed, and may be loaded again. */
  revive(hostname: string): void
}

/** Has an app for each real path that is asked for: loads each once, however many ask, and swaps releases. */
export class AppCache {
  readonly #settings: Settings
  readonly #launch: Launch
  readonly #events: Events
  readonly #hooks: AppCacheHooks
  readonly #queue: LoadQueue
  readonly #apps: LoadedApps
  readonly #flights = new Chain<Flight>()
  readonly #failures: Failures
  readonly #lacks = new PassingLacks()
  readonly #loads = new Map<string, Load>()
  readonly #crashes = new Crashes()
  readonly #reloadRate = new ReloadRate()
  readonly #endings: Endings
  /** An app serves all: what it begins when it is loaded or closed is no part of the request that came first. */
  readonly #outside = AsyncLocalStorage.snapshot()
  #isClosed = false

  constructor(settings: Settings, launch: Launch, events: Events, hooks: AppCacheHooks) {
    this.#settings = settings
    this.#launch = launch
    this.#events = events
    this.#hooks = hooks
    this.#queue = new LoadQueue(settings.maxConcurrentLoads)
    this.#apps = new LoadedApps(settings.maxApps)
    this.#failures = new Failures(settings.updateInterval, settings.maxApps)
    this.#endings = new Endings(
      settings.drainTimeout,
      events,
      realPath => this.#apps.get(realPath)?.release,
      hooks.ended,
    )
  }

  /** The app that serves a real path now; a use. */
  get(realPath: string): App | undefined {
    return this.#apps.use(this.#apps.get(realPath))
  }

  /** As `get`, for a name: what it leads to is looked up once for each app. */
  serving(vhost: Pick<Vhost, 'realPath' | 'app'>): App | undefined {
    vhost.app ??= this.#apps.get(vhost.realPath)
    return this.#apps.use(vhost.app)
  }

  /** As `get`, but not a use. */
  peek(realPath: string): App | undefined {
    return this.#apps.get(realPath)
  }

  /** Why the newest release of a real path is not the one that serves. */
  failure(realPath: string): Failure | undefined {
    return this.#failures.peek(realPath)
  }

  /** How often what lies there has crashed and was started again, and how it ended last. */
  crashesOf(realPath: string): { restarts: number; lastExit: LastExit | null } {
    const { restarts, lastExit } = this.#crashes.of(realPath)
    return { restarts, lastExit }
  }

  isLoading(realPath: string): boolean {
    return this.#loads.has(realPath)
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` where a request would get it that needs this to be loaded */
  expectRoom(realPath: string): void {
    if (this.#apps.has(realPath) || this.isLoading(realPath)) return
    this.#apps.expectRoom()
    this.#queue.expectRoom('first')
  }

  /** The names that lead there, and those that wait for it to be loaded. */
  hostnamesOf(realPath: string): string[] {
    const waiting = this.#loads.get(realPath)?.hostnames ?? []
    return [...new Set([...this.#hooks.hostnamesOf(realPath), ...waiting])]
  }

  get apps(): App[] {
    return this.#apps.all
  }

  get failures(): Failure[] {
    return this.#failures.all
  }

  /** Loads of what nothing serves yet, with the hostnames that wait for them. */
  get firstLoads(): { release: Release; hostnames: readonly string[] }[] {
    const loads = [...this.#loads.values()].filter(({ release }) => !this.#apps.has(release.realPath))
    return loads.map(({ release, hostnames }) => ({ release, hostnames: [...hostnames] }))
  }

  /** Apps that take no new requests and have not ended yet. */
  get draining(): App[] {
    return this.#endings.apps
  }

  /**
   * The app of a release, loaded if need be, for a request to `hostname`. It is kept from eviction until the caller has
   * handed its request over and calls `app.waiting--`. Where the same version failed for the first time a moment ago
   * it waits for the next attempt, a moment.
   * @throws VhostError where it cannot be loaded, at once where the same version has failed more than once
   */
  async acquire(release: Release, hostname: string): Promise<App> {
    const wasLoading = this.#loads.has(release.realPath)
    const pause = this.#failures.pauseBefore(release)
    try {
      return await this.acquireOnce(release, hostname)
    } catch (error) {
      if (!(wasLoading || pause > 0) || !this.#failures.mayHaveMissed(release)) throw error
      if (pause > 0) {
        await delay(pause)
        return await this.acquireOnce(release, hostname)
      }
      return await this.#join(this.#loads.get(release.realPath) ?? this.#begin(release), hostname)
    }
  }

  /** As `acquire`, where no request waits: a load that had begun before will do. */
  async acquireOnce(release: Release, hostname: string): Promise<App> {
    const app = this.get(release.realPath)
    if (app) {
      app.waiting++
      return app
    }
    const failure = this.#failures.of(release)
    if (failure && this.#failures.pauseBefore(release) > 0) throw forHostname(failure.error, hostname)
    return await this.#join(this.#loads.get(release.realPath) ?? this.#begin(release), hostname)
  }

  /**
   * Loads a release beside the one that serves `hostname` now, and resolves when it serves instead. Gives undefined,
   * having done nothing, where the same version has failed and another attempt is not due, and where the release is not
   * wanted any more once it is loaded.
   */
  async replace(release: Release, hostname: string, replacing: Replacement): Promise<App | undefined> {
    const { serving, reason } = replacing
    const failure = reason === 'reloaded' ? undefined : this.#failures.of(release)
    if (failure) {
      const isAsked = failure.requestsThen !== serving.requests
      if (!isAsked || this.#failures.pauseBefore(release) > 0) return undefined
    }
    if (reason === 'reloaded') {
      await this.settle(release.realPath)
      await this.#apps.get(release.realPath)?.predecessor
    }
    try {
      const load = this.#loads.get(release.realPath) ?? this.#begin(release, replacing)
      const app = await this.#join(load, hostname)
      app.waiting--
      return app
    } catch (error) {
      if (error instanceof TakenBack) return undefined
      throw error
    }
  }

  /**
   * Takes an app out of the cache: it gets no new request, drains and is disposed. `successor` serves what led to it.
   */
  retire(
    realPath: string,
    reason: EvictReason,
    hostnames: string[] = this.#hooks.hostnamesOf(realPath),
    successor?: App,
  ): void {
    const app = this.#apps.get(realPath)
    if (!app) return
    this.#switch(realPath, undefined)
    const ended = this.#outside(() => this.#endings.begin(app, reason, hostnames))
    successor?.succeed(ended)
    this.#hooks.left(realPath)
  }

  /** For how many milliseconds a release that is seen to have changed is to be let be: it may do so without an end. */
  pauseBeforeReload(realPath: string): number {
    return this.#reloadRate.pauseBefore(realPath)
  }

  /** Waits for a load that is under way there, however it ends: it may have read what was there before the caller asked. */
  async settle(realPath: string): Promise<void> {
    await this.#loads.get(realPath)?.promise.catch(() => {})
  }

  /** Forgets that a release failed, where it is no longer asked for. */
  forgetFailure(realPath: string): void {
    this.#failures.delete(realPath)
  }

  async close(drainTimeout: number): Promise<void> {
    this.#isClosed = true
    this.#endings.hasten(drainTimeout)
    for (const app of this.apps) {
      const { realPath } = app.release
      this.#switch(realPath, undefined)
      // Until then its last words stand after its name.
      void this.#endings
        .begin(app, 'closed', this.#hooks.hostnamesOf(realPath), drainTimeout)
        .then(() => this.#hooks.left(realPath))
    }
    const loads = [...this.#loads.values()].map(load => load.promise)
    await Promise.all([this.#endings.settled(), within(drainTimeout, Promise.allSettled(loads), () => {})])
    await this.#endings.settled()
  }

  async #join(load: Load, hostname: string): Promise<App> {
    load.hostnames.add(hostname)
    // In the turn in which its app comes to serve it is known as a load still.
    if (load.app) load.app.waiting++
    else load.waiting++
    try {
      return await load.promise
    } catch (error) {
      throw error instanceof VhostError ? forHostname(error, hostname) : error
    }
  }

  #begin({ realPath, version }: Release, replacing?: Replacement): Load {
    const load: Load = {
      // Events and load() give it away: only what a release is, not what reading it left behind, and not to be changed.
      release: Object.freeze({ realPath, version }),
      hostnames: new Set(),
      replacing,
      // After this load is noted, so that nothing ends before it is known.
      promise: this.#outside(() => Promise.resolve().then(() => this.#load(load))),
      waiting: 0,
    }
    this.#loads.set(realPath, load)
    return load
  }

  async #load(load: Load): Promise<App> {
    try {
      if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
      if (this.#comesBeside(load)) this.#apps.expectRoom()
      return await this.#queue.run(this.#urgencyOf(load), () => this.#loadNow(load))
    } catch (error) {
      throw error instanceof TakenBack ? error : this.#noteFailure(load, error)
    } finally {
      this.#loads.delete(load.release.realPath)
    }
  }

  #urgencyOf({ release, replacing }: Load): Urgency {
    // It may hold its place for as long again.
    if (this.#failures.of(release)?.error.code === 'ERR_VHOST_LOAD_TIMEOUT') return 'retry'
    return replacing ? 'reload' : 'first'
  }

  async #loadNow(load: Load): Promise<App> {
    if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
    const { release, replacing } = load
    const start = performance.now()
    const launched = await this.#launch(release, firstOf(load))
    const app = new App(release, nameFor(load), launched, performance.now() - start, this.#flights)
    try {
      const isWanted = (await replacing?.isWanted?.()) ?? true
      if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
      if (!isWanted && load.waiting === 1) throw new TakenBack()
      if (this.#comesBeside(load)) this.#makeRoom(replacing?.serving)
    } catch (error) {
      const reason = error instanceof TakenBack ? replacing?.reason : undefined
      void this.#endings.begin(app, reason ?? 'closed', [])
      throw error
    }
    app.waiting = load.waiting
    load.app = app
    this.#insert(app, replacing)
    return app
  }

  /** Whether there will be an app more: nothing is replaced, or what was to be has gone, or other names stay with it. */
  #comesBeside({ replacing, hostnames }: Load): boolean {
    if (!replacing || replacing.serving.isRetired) return true
    const { serving, reason } = replacing
    const present = reason === 'moved' ? this.#hooks.hostnamesOf(serving.release.realPath) : []
    return present.some(name => !hostnames.has(name))
  }

  #insert(app: App, replacing: Replacement | undefined): void {
    const { release, loadDurationMs: durationMs } = app
    const { realPath } = release
    const replaced = this.#apps.get(realPath)
    const hostnames = this.hostnamesOf(realPath)
    this.#switch(realPath, app)
    this.#apps.use(app)
    this.#failures.delete(realPath)
    this.#evictWhenIdle(app)
    void app.crashed?.then(error => this.#noteCrash(app, error))
    const about = { hostnames, ...release, durationMs }
    const previous = replaced ?? replacing?.serving
    if (previous) this.#events.emit('reload', { ...about, previous: previous.release })
    else this.#events.emit('load', about)
    if (replaced) {
      void this.#endings.begin(replaced, replacing?.reason ?? 'changed', hostnames)
      this.#noteReload(release, hostnames)
    }
    for (const ended of this.#endings.at(realPath)) app.succeed(ended)
  }

  /** An app has ended by itself: it is loaded again, at once where it had run for a while. */
  #noteCrash(app: App, error: VhostError): void {
    const { release, name } = app
    const { realPath } = release
    if (this.#isClosed || this.#apps.get(realPath) !== app) return
    const hostnames = this.#hooks.hostnamesOf(realPath)
    const pause = this.#crashes.note(app, error)
    this.#events.emit('error', { hostnames, ...release, error: forHostname(error, name), serving: undefined })
    this.retire(realPath, 'crashed', hostnames)
    const letGo = pause > 0 ? this.#failures.hold(release, pause) : undefined
    setTimeout(() => {
      // Timers may be early by the clock, and then it would be refused once more, with nobody to ask again.
      letGo?.()
      this.#hooks.revive(hostnames[0] ?? name)
    }, pause).unref()
  }

  #evictWhenIdle(app: App): void {
    const { idleTimeout } = this.#settings
    if (idleTimeout === 0) return
    const { realPath } = app.release
    const timer = setTimeout(() => {
      if (!app.isBusy && this.#apps.get(realPath) === app) this.retire(realPath, 'idle')
    }, idleTimeout).unref()
    app.onIdle = () => timer.refresh()
  }

  #switch(realPath: string, app: App | undefined): void {
    if (app) this.#apps.set(realPath, app)
    else this.#apps.delete(realPath)
    this.#hooks.switched(realPath)
  }

  /** What other names stay with goes last: with it go the names, also the one that moves. */
  #makeRoom(serving: App | undefined): void {
    while (this.#apps.isFull) this.retire(this.#apps.takeVictim(serving).release.realPath, 'lru')
  }

  #noteFailure({ release, replacing }: Load, thrown: unknown): VhostError {
    if (this.#isClosed) return new VhostError('ERR_VHOST_CLOSED')
    const error = thrown instanceof VhostError ? thrown : new VhostError('ERR_VHOST_LOAD', { cause: thrown })
    if (error.code === 'ERR_VHOST_OVERLOADED' || error.code === 'ERR_VHOST_CLOSED') return error
    const serving = replacing?.serving
    if (!this.#failures.note(release, error, serving?.requests ?? 0)) return error
    const { realPath } = release
    // Before what serves may be evicted, and its names with it.
    const hostnames = this.hostnamesOf(realPath)
    const tell = (): void => {
      const present = serving?.isRetired ? undefined : serving?.release
      this.#events.emit('error', { hostnames, ...release, error, serving: present })
    }
    if (replacing?.reason === 'changed' && isLack(error)) {
      this.#lacks.hold(realPath, () => {
        if (!this.#isClosed && this.#failures.of(release)) tell()
      })
    } else {
      this.#lacks.forget(realPath)
      tell()
    }
    return error
  }

  #noteReload(release: Release, hostnames: string[]): void {
    if (!this.#reloadRate.isTooMany(release.realPath)) return
    const error = new Error(
      `more than ${RELOADS_A_MINUTE} reloads within a minute: does the app write into its folder?`,
    )
    this.#events.emit('error', { hostnames, ...release, error, serving: release })
  }
}

function nameFor(load: Load): string {
  const { replacing } = load
  // A re-pointed name moves alone: what it left may be another name's by now.
  return replacing && replacing.reason !== 'moved' ? replacing.serving.name : firstOf(load)
}

/** Whoever began a load waits for it. */
function firstOf({ hostnames }: Load): string {
  const [first] = hostnames
  return first as string
}

function forHostname(error: VhostError, hostname: string): VhostError {
  return error.hostname === hostname ? error : error.withHostname(hostname)
}
