import { AsyncLocalStorage } from 'node:async_hooks'
import { Chain } from './app/chain.ts'
import type { Flight } from './app/flight.ts'
import { App } from './app.ts'
import type { LastExit } from './app-cache/crashes.ts'
import { type Failure, Failures } from './app-cache/failures.ts'
import { LoadQueue, type Urgency } from './app-cache/load-queue.ts'
import { firstOf, type Load, Loads } from './app-cache/loads.ts'
import { isLack, PassingLacks } from './app-cache/passing-lacks.ts'
import { type Replacement, ServingApps, type ServingHooks } from './app-cache/serving-apps.ts'
import { VhostError } from './errors.ts'
import type { Events, EvictReason } from './events.ts'
import type { Launch } from './launch/launch.ts'
import type { Settings } from './options.ts'
import { atLeast } from './promises/at-least.ts'
import { within } from './promises/within.ts'
import type { Release } from './release.ts'
import type { Vhost } from './vhost-table.ts'

/** Thrown when a release was taken back while it loaded, and nobody who waits for it wants it. */
class TakenBack extends Error {}

/** Holds one app for each real path in use: loads it once, however many requests ask for it, and swaps releases. */
export class AppCache {
  readonly #launch: Launch
  readonly #events: Events
  readonly #hooks: ServingHooks
  readonly #queue: LoadQueue
  readonly #failures: Failures
  readonly #lacks = new PassingLacks()
  readonly #serving: ServingApps
  readonly #loads: Loads
  readonly #flights = new Chain<Flight>()
  /**
   * An app serves every request, so what it starts while it loads must not run in the async context of the first one.
   */
  readonly #outside = AsyncLocalStorage.snapshot()
  #isClosed = false

  constructor(settings: Settings, launch: Launch, events: Events, hooks: ServingHooks) {
    this.#launch = launch
    this.#events = events
    this.#hooks = hooks
    this.#queue = new LoadQueue(settings.maxConcurrentLoads)
    this.#failures = new Failures(settings.updateInterval, settings.maxApps)
    this.#serving = new ServingApps(settings, events, hooks, this.#failures)
    this.#loads = new Loads(load => this.#outside(() => this.#load(load)))
  }

  /** The app that serves a real path now. Counts as a use. */
  get(realPath: string): App | undefined {
    return this.#serving.use(realPath)
  }

  /** As `get`, for a hostname in the table. */
  serving(vhost: Pick<Vhost, 'realPath' | 'app'>): App | undefined {
    return this.#serving.of(vhost)
  }

  /** As `get`, but does not count as a use. */
  peek(realPath: string): App | undefined {
    return this.#serving.peek(realPath)
  }

  /** Why the newest release of a real path is not the one that serves. */
  failure(realPath: string): Failure | undefined {
    return this.#failures.peek(realPath)
  }

  /** How often the app at a real path has crashed and been restarted, and how it last ended. */
  crashesOf(realPath: string): { restarts: number; lastExit: LastExit | null } {
    return this.#serving.crashesOf(realPath)
  }

  isLoading(realPath: string): boolean {
    return this.#loads.has(realPath)
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` if a request that needs this real path loaded would get that error */
  expectRoom(realPath: string): void {
    if (this.peek(realPath) || this.isLoading(realPath)) return
    this.#serving.expectRoom()
    this.#queue.expectRoom('first')
  }

  /** The hostnames that lead to a real path, and those that wait for it to be loaded. */
  hostnamesOf(realPath: string): string[] {
    const waiting = this.#loads.get(realPath)?.hostnames ?? []
    return [...new Set([...this.#hooks.hostnamesOf(realPath), ...waiting])]
  }

  get apps(): App[] {
    return this.#serving.all
  }

  get failures(): Failure[] {
    return this.#failures.all
  }

  /** Loads of real paths that no app serves yet, with the hostnames that wait for them. */
  get firstLoads(): { release: Release; hostnames: readonly string[] }[] {
    const loads = this.#loads.all.filter(({ release }) => !this.peek(release.realPath))
    return loads.map(({ release, hostnames }) => ({ release, hostnames: [...hostnames] }))
  }

  /** Apps that take no new requests and have not ended yet. */
  get draining(): App[] {
    return this.#serving.draining
  }

  /**
   * The app of a release, loaded if need be, for a request to `hostname`. It is kept from eviction until the caller has
   * handed its request over and calls `app.letGo()`. If the same version has just failed for the first time, this
   * waits briefly for the next attempt.
   * @throws VhostError if it cannot be loaded; at once while a version that has failed more than once is not due for
   * another attempt
   */
  async acquire(release: Release, hostname: string): Promise<App> {
    const wasLoading = this.isLoading(release.realPath)
    const pause = this.#failures.pauseBefore(release)
    try {
      return await this.acquireOnce(release, hostname)
    } catch (error) {
      if (!(wasLoading || pause > 0) || !this.#failures.mayHaveMissed(release)) throw error
      if (pause > 0) {
        // A moment early, the next attempt would not be due, and the earlier error would be the answer.
        await atLeast(pause)
        return await this.acquireOnce(release, hostname)
      }
      return await this.#loads.join(release, hostname)
    }
  }

  /** As `acquire`, for when no request waits: makes one attempt at most, and a load that began earlier will do. */
  async acquireOnce(release: Release, hostname: string): Promise<App> {
    const app = this.get(release.realPath)
    if (app) {
      app.hold()
      return app
    }
    const failure = this.#failures.of(release)
    if (failure && this.#failures.pauseBefore(release) > 0) throw failure.error.withHostname(hostname)
    return await this.#loads.join(release, hostname)
  }

  /**
   * Loads a release beside the one that serves `hostname` now, and resolves when it serves instead. Resolves to
   * undefined, leaving the old one in place, if the same version has failed and another attempt is not due, or if the
   * release is no longer wanted once it is loaded.
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
      await this.peek(release.realPath)?.predecessor
    }
    try {
      const app = await this.#loads.join(release, hostname, replacing)
      app.letGo()
      return app
    } catch (error) {
      if (error instanceof TakenBack) return undefined
      throw error
    }
  }

  /**
   * Takes an app out of the cache: it gets no new requests, drains and is disposed. `successor` is the app that now
   * serves its hostnames.
   */
  retire(realPath: string, reason: EvictReason, hostnames?: string[], successor?: App): void {
    // No hostname leads there any more: if one does again, that is another deploy.
    if (reason === 'deleted' || reason === 'moved') this.forgetFailure(realPath)
    this.#serving.retire(realPath, reason, hostnames, successor)
  }

  /** How many milliseconds to leave a changed release alone: some releases change endlessly. */
  pauseBeforeReload(realPath: string): number {
    return this.#serving.pauseBeforeReload(realPath)
  }

  /**
   * Waits for a load under way at a real path, however it ends: it may have read files older than the caller's request.
   */
  async settle(realPath: string): Promise<void> {
    await this.#loads.settle(realPath)
  }

  /** Forgets that the release at a real path failed to load. */
  forgetFailure(realPath: string): void {
    this.#failures.delete(realPath)
  }

  /** As `forgetFailure`, unless a hostname leads there. */
  forgetUnled(realPath: string): void {
    if (this.#hooks.hostnamesOf(realPath).length === 0) this.forgetFailure(realPath)
  }

  async close(drainTimeout: number): Promise<void> {
    this.#isClosed = true
    this.#serving.close(drainTimeout)
    await Promise.all([this.#serving.ended(), within(drainTimeout, this.#loads.settled(), () => {})])
    await this.#serving.ended()
  }

  async #load(load: Load): Promise<App> {
    try {
      if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
      if (this.#comesBeside(load)) this.#serving.expectRoom()
      return await this.#queue.run(this.#urgencyOf(load), () => this.#loadNow(load))
    } catch (error) {
      throw error instanceof TakenBack ? error : this.#noteFailure(load, error)
    }
  }

  #urgencyOf({ release, replacing }: Load): Urgency {
    // It may hold its place in the queue until it times out again.
    if (this.#failures.of(release)?.error.code === 'ERR_VHOST_LOAD_TIMEOUT') return 'retry'
    return replacing ? 'reload' : 'first'
  }

  async #loadNow(load: Load): Promise<App> {
    if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
    const { release, lastEntry, replacing } = load
    const start = performance.now()
    const launched = await this.#launch(release, firstOf(load), lastEntry)
    const app = new App(release, nameFor(load), launched, performance.now() - start, this.#flights)
    try {
      const wishes = await Promise.all(load.wishes.map(isWanted => isWanted()))
      if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
      if (!wishes.includes(true) && load.waiting === wishes.length) {
        this.#loads.leave(load)
        throw new TakenBack()
      }
      if (this.#comesBeside(load)) this.#serving.makeRoom(this.#present(replacing))
    } catch (error) {
      const reason = error instanceof TakenBack ? replacing?.reason : undefined
      this.#serving.turnAway(app, reason ?? 'closed')
      throw error
    }
    app.hold(load.waiting)
    load.app = app
    this.#failures.delete(release.realPath)
    this.#serving.serve(app, this.hostnamesOf(release.realPath), replacing)
    return app
  }

  /**
   * Whether this load adds an app: nothing is replaced, or the app to replace has gone, or other hostnames stay with
   * it.
   */
  #comesBeside({ replacing, hostnames }: Load): boolean {
    const serving = this.#present(replacing)
    if (!serving) return true
    const others = replacing?.reason === 'moved' ? this.#hooks.hostnamesOf(serving.release.realPath) : []
    return others.some(name => !hostnames.has(name))
  }

  /** The app to replace now: the one that was to be replaced may itself have been, while this load waited. */
  #present(replacing: Replacement | undefined): App | undefined {
    return replacing && this.peek(replacing.serving.release.realPath)
  }

  #noteFailure({ release, replacing }: Load, thrown: unknown): VhostError {
    if (this.#isClosed) return new VhostError('ERR_VHOST_CLOSED')
    const error = thrown instanceof VhostError ? thrown : new VhostError('ERR_VHOST_LOAD', { cause: thrown })
    if (error.code === 'ERR_VHOST_OVERLOADED' || error.code === 'ERR_VHOST_CLOSED') return error
    if (!this.#failures.note(release, error, this.#present(replacing)?.requests ?? 0)) return error
    const { realPath } = release
    // Read now: the app that serves may be evicted before the event, and its hostnames with it.
    const hostnames = this.hostnamesOf(realPath)
    const tell = (): void => {
      const serving = this.#present(replacing)?.release
      this.#events.emit('error', { hostnames, ...release, error, serving })
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
}

function nameFor(load: Load): string {
  const { replacing } = load
  // A re-pointed hostname moves alone: the app that it leaves may be named after another one.
  return replacing && replacing.reason !== 'moved' ? replacing.serving.name : firstOf(load)
}
