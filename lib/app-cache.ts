import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { App } from './app.ts'
import { Chain } from './chain.ts'
import type { LastExit } from './crashes.ts'
import { VhostError } from './errors.ts'
import type { Events, EvictReason } from './events.ts'
import { type Failure, Failures } from './failures.ts'
import type { Flight } from './flight.ts'
import type { Launch } from './launch/launch.ts'
import { LoadQueue, type Urgency } from './load-queue.ts'
import { firstOf, type Load, Loads } from './loads.ts'
import type { Settings } from './options.ts'
import { isLack, PassingLacks } from './passing-lacks.ts'
import type { Release } from './release.ts'
import { type Replacement, ServingApps, type ServingHooks } from './serving-apps.ts'
import type { Vhost } from './vhost-table.ts'
import { within } from './within.ts'

/** The release was taken back while it loaded, and nobody else waits for it. */
class TakenBack extends Error {}

/** Has an app for each real path that is asked for: loads each once, however many ask, and swaps releases. */
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
  /** An app serves all: what it begins when it is loaded is no part of the request that came first. */
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

  /** The app that serves a real path now; a use. */
  get(realPath: string): App | undefined {
    return this.#serving.use(realPath)
  }

  /** As `get`, for a name. */
  serving(vhost: Pick<Vhost, 'realPath' | 'app'>): App | undefined {
    return this.#serving.of(vhost)
  }

  /** As `get`, but not a use. */
  peek(realPath: string): App | undefined {
    return this.#serving.peek(realPath)
  }

  /** Why the newest release of a real path is not the one that serves. */
  failure(realPath: string): Failure | undefined {
    return this.#failures.peek(realPath)
  }

  /** How often what lies there has crashed and was started again, and how it ended last. */
  crashesOf(realPath: string): { restarts: number; lastExit: LastExit | null } {
    return this.#serving.crashesOf(realPath)
  }

  isLoading(realPath: string): boolean {
    return this.#loads.has(realPath)
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` where a request would get it that needs this to be loaded */
  expectRoom(realPath: string): void {
    if (this.peek(realPath) || this.isLoading(realPath)) return
    this.#serving.expectRoom()
    this.#queue.expectRoom('first')
  }

  /** The names that lead there, and those that wait for it to be loaded. */
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

  /** Loads of what nothing serves yet, with the hostnames that wait for them. */
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
   * handed its request over and calls `app.waiting--`. Where the same version failed for the first time a moment ago
   * it waits for the next attempt, a moment.
   * @throws VhostError where it cannot be loaded, at once where the same version has failed more than once
   */
  async acquire(release: Release, hostname: string): Promise<App> {
    const wasLoading = this.isLoading(release.realPath)
    const pause = this.#failures.pauseBefore(release)
    try {
      return await this.acquireOnce(release, hostname)
    } catch (error) {
      if (!(wasLoading || pause > 0) || !this.#failures.mayHaveMissed(release)) throw error
      if (pause > 0) {
        await delay(pause)
        return await this.acquireOnce(release, hostname)
      }
      return await this.#loads.join(release, hostname)
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
    if (failure && this.#failures.pauseBefore(release) > 0) throw failure.error.withHostname(hostname)
    return await this.#loads.join(release, hostname)
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
      await this.peek(release.realPath)?.predecessor
    }
    try {
      const app = await this.#loads.join(release, hostname, replacing)
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
  retire(realPath: string, reason: EvictReason, hostnames?: string[], successor?: App): void {
    this.#serving.retire(realPath, reason, hostnames, successor)
  }

  /** For how many milliseconds a release that is seen to have changed is to be let be: it may do so without an end. */
  pauseBeforeReload(realPath: string): number {
    return this.#serving.pauseBeforeReload(realPath)
  }

  /** Waits for a load that is under way there, however it ends: it may have read what was there before the caller asked. */
  async settle(realPath: string): Promise<void> {
    await this.#loads.settle(realPath)
  }

  /** Forgets that a release failed, where it is no longer asked for. */
  forgetFailure(realPath: string): void {
    this.#failures.delete(realPath)
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
      if (this.#comesBeside(load)) this.#serving.makeRoom(replacing?.serving)
    } catch (error) {
      const reason = error instanceof TakenBack ? replacing?.reason : undefined
      this.#serving.turnAway(app, reason ?? 'closed')
      throw error
    }
    app.waiting = load.waiting
    load.app = app
    this.#failures.delete(release.realPath)
    this.#serving.serve(app, this.hostnamesOf(release.realPath), replacing)
    return app
  }

  /** Whether there will be an app more: nothing is replaced, or what was to be has gone, or other names stay with it. */
  #comesBeside({ replacing, hostnames }: Load): boolean {
    if (!replacing || replacing.serving.isRetired) return true
    const { serving, reason } = replacing
    const present = reason === 'moved' ? this.#hooks.hostnamesOf(serving.release.realPath) : []
    return present.some(name => !hostnames.has(name))
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
}

function nameFor(load: Load): string {
  const { replacing } = load
  // A re-pointed name moves alone: what it left may be another name's by now.
  return replacing && replacing.reason !== 'moved' ? replacing.serving.name : firstOf(load)
}
