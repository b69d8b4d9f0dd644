import { AsyncLocalStorage } from 'node:async_hooks'
import type { App } from '../app.ts'
import type { VhostError } from '../errors.ts'
import type { Events, EvictReason } from '../events.ts'
import type { Settings } from '../options.ts'
import type { Release } from '../release.ts'
import type { Vhost } from '../vhost-table.ts'
import { Crashes, type LastExit } from './crashes.ts'
import { Endings } from './endings.ts'
import type { Failures } from './failures.ts'
import { LoadedApps } from './loaded-apps.ts'
import { RELOADS_A_MINUTE, ReloadRate } from './reload-rate.ts'

/** The app that a release is loaded beside, to serve instead of it. */
export interface Replacement {
  readonly serving: App
  /** Why the app that serves now will be evicted. */
  readonly reason: EvictReason
  /** Whether the release is still to serve, asked once it is loaded. Unset: it is. */
  readonly isWanted?: () => Promise<boolean>
}

export interface ServingHooks {
  hostnamesOf(realPath: string): string[]
  /** Where a hostname leads; undefined if it is not known. */
  realPathOf(hostname: string): string | undefined
  /** Another app serves a real path from now on, or none. */
  switched(realPath: string): void
  /** An app has left for good: its hostnames are to be forgotten. */
  left(realPath: string): void
  /** An app has drained and is disposed. */
  ended(app: App): void
  /** An app that this hostname led to has crashed, and may be loaded again. */
  revive(hostname: string): void
}

/**
 * The apps that serve, one for each real path, and those that are ending: each comes by `serve()` and goes by
 * `retire()`.
 */
export class ServingApps {
  readonly #idleTimeout: number
  readonly #events: Events
  readonly #hooks: ServingHooks
  readonly #failures: Failures
  readonly #apps: LoadedApps
  readonly #crashes = new Crashes()
  readonly #reloadRate = new ReloadRate()
  readonly #endings: Endings
  readonly #idleTimers = new Map<string, NodeJS.Timeout>()
  /** What an app starts when it is closed must not run in the async context of a request. */
  readonly #outside = AsyncLocalStorage.snapshot()
  #isClosed = false

  constructor(settings: Settings, events: Events, hooks: ServingHooks, failures: Failures) {
    this.#idleTimeout = settings.idleTimeout
    this.#events = events
    this.#hooks = hooks
    this.#failures = failures
    this.#apps = new LoadedApps(settings.maxApps)
    this.#endings = new Endings(
      settings.drainTimeout,
      events,
      (realPath, [name = '']) => this.#apps.get(hooks.realPathOf(name) ?? realPath)?.release,
      hooks.ended,
    )
  }

  /** The app that serves a real path now. Counts as a use. */
  use(realPath: string): App | undefined {
    return this.#apps.use(this.#apps.get(realPath))
  }

  /** As `use`, for a hostname in the table: its app is looked up once and kept there. */
  of(vhost: Pick<Vhost, 'realPath' | 'app'>): App | undefined {
    vhost.app ??= this.#apps.get(vhost.realPath)
    return this.#apps.use(vhost.app)
  }

  /** As `use`, but does not count as a use. */
  peek(realPath: string): App | undefined {
    return this.#apps.get(realPath)
  }

  get all(): App[] {
    return this.#apps.all
  }

  /** Apps that take no new requests and have not ended yet. */
  get draining(): App[] {
    return this.#endings.apps
  }

  /** How often the app at a real path has crashed and been restarted, and how it last ended. */
  crashesOf(realPath: string): { restarts: number; lastExit: LastExit | null } {
    const { restarts, lastExit } = this.#crashes.of(realPath)
    return { restarts, lastExit }
  }

  /** How many milliseconds to leave a changed release alone: some releases change endlessly. */
  pauseBeforeReload(realPath: string): number {
    return this.#reloadRate.pauseBefore(realPath)
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` if room is needed and `makeRoom()` would find none */
  expectRoom(): void {
    this.#apps.expectRoom()
  }

  /**
   * Evicts apps until there is room for one more. `last`, the app that other hostnames stay with, goes last: its
   * hostnames go with it, even the one that moves.
   * @throws VhostError `ERR_VHOST_OVERLOADED` if every app is busy
   */
  makeRoom(last: App | undefined): void {
    while (this.#apps.isFull) this.retire(this.#apps.takeVictim(last).release.realPath, 'lru')
  }

  /** Makes an app serve its real path from now on, in place of the one that did. */
  serve(app: App, hostnames: string[], replacing: Replacement | undefined): void {
    const { release, loadDurationMs: durationMs } = app
    const { realPath } = release
    const replaced = this.#apps.get(realPath)
    this.#switch(realPath, app)
    this.#apps.use(app)
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

  /**
   * Takes an app out: it gets no new requests, drains and is disposed. `successor` is the app that now serves its
   * hostnames.
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

  /** Disposes an app that was loaded but is not to serve. */
  turnAway(app: App, reason: EvictReason): void {
    void this.#endings.begin(app, reason, [])
  }

  /** Retires all apps; they and those that drain already have no longer than `drainTimeout` milliseconds. */
  close(drainTimeout: number): void {
    this.#isClosed = true
    this.#endings.hasten(drainTimeout)
    for (const app of this.all) {
      const { realPath } = app.release
      this.#switch(realPath, undefined)
      // Its hostnames stay until then, so that its last lines in the log stand after its name.
      void this.#endings
        .begin(app, 'closed', this.#hooks.hostnamesOf(realPath), drainTimeout)
        .then(() => this.#hooks.left(realPath))
    }
  }

  /** Settles when all apps that have begun to end by now have ended. */
  async ended(): Promise<void> {
    await this.#endings.settled()
  }

  #switch(realPath: string, app: App | undefined): void {
    if (app) this.#apps.set(realPath, app)
    else this.#apps.delete(realPath)
    // It would keep the app that leaves in memory.
    clearTimeout(this.#idleTimers.get(realPath))
    this.#idleTimers.delete(realPath)
    this.#hooks.switched(realPath)
  }

  /**
   * Reports an app that has ended by itself, and has it loaded again: at once, or after a pause if it crashes
   * repeatedly.
   */
  #noteCrash(app: App, error: VhostError): void {
    const { release, name } = app
    const { realPath } = release
    if (this.#isClosed || this.#apps.get(realPath) !== app) return
    const hostnames = this.#hooks.hostnamesOf(realPath)
    const pause = this.#crashes.note(app, error)
    this.#events.emit('error', {
      hostnames,
      ...release,
      error: error.withHostname(name),
      serving: undefined,
    })
    this.retire(realPath, 'crashed', hostnames)
    const revive = (): void => this.#hooks.revive(hostnames[0] ?? name)
    const letGo = pause > 0 ? this.#failures.hold(release, pause) : undefined
    // Refused for now, but its hostname is known again: stats() shows it, and a release that mends it is seen.
    if (letGo) revive()
    setTimeout(() => {
      // A timer may fire early by the clock; then the release would be refused once more, with nobody to ask again.
      letGo?.()
      revive()
    }, pause).unref()
  }

  #evictWhenIdle(app: App): void {
    if (this.#idleTimeout === 0) return
    const { realPath } = app.release
    const timer = setTimeout(() => {
      if (!app.isBusy && this.#apps.get(realPath) === app) this.retire(realPath, 'idle')
    }, this.#idleTimeout).unref()
    this.#idleTimers.set(realPath, timer)
    app.onIdle = () => timer.refresh()
  }

  #noteReload(release: Release, hostnames: string[]): void {
    if (!this.#reloadRate.isTooMany(release.realPath)) return
    const error = new Error(
      `more than ${RELOADS_A_MINUTE} reloads within a minute: does the app write into its folder?`,
    )
    this.#events.emit('error', { hostnames, ...release, error, serving: release })
  }
}
