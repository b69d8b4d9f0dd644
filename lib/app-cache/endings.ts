import type { App } from '../app.ts'
import type { Events, EvictReason } from '../events.ts'
import type { Release } from '../release.ts'

/** Apps that take no new requests: each drains, is disposed, and is then reported by `evict`. */
export class Endings {
  readonly #drainTimeout: number
  readonly #events: Events
  readonly #servingAfter: (realPath: string, hostnames: string[]) => Release | undefined
  readonly #ended: (app: App) => void
  readonly #endings = new Map<App, Promise<void>>()

  /**
   * `servingAfter` returns the release that now serves an app's place, or the hostnames that led to it; `ended` is
   * called with each app that is disposed.
   */
  constructor(
    drainTimeout: number,
    events: Events,
    servingAfter: (realPath: string, hostnames: string[]) => Release | undefined,
    ended: (app: App) => void,
  ) {
    this.#drainTimeout = drainTimeout
    this.#events = events
    this.#servingAfter = servingAfter
    this.#ended = ended
  }

  /** Settles when the app has drained and is disposed; never rejects. */
  begin(
    app: App,
    reason: EvictReason,
    hostnames: string[],
    drainTimeout: number = this.#drainTimeout,
  ): Promise<void> {
    const ended = app
      .retire(reason, drainTimeout)
      .catch(cause => {
        const error = cause instanceof Error ? cause : new Error('close() of the app failed', { cause })
        const serving = this.#servingAfter(app.release.realPath, hostnames)
        this.#events.emit('error', { hostnames, ...app.release, error, serving })
      })
      .then(() => {
        this.#endings.delete(app)
        this.#ended(app)
        this.#events.emit('evict', { hostnames, ...app.release, reason, cut: app.cut })
      })
    this.#endings.set(app, ended)
    return ended
  }

  get apps(): App[] {
    return [...this.#endings.keys()]
  }

  /** The endings of apps that served a real path, including one deleted before its folder was put back. */
  at(realPath: string): Promise<void>[] {
    return [...this.#endings]
      .filter(([{ release }]) => release.realPath === realPath)
      .map(([, ended]) => ended)
  }

  hasten(drainTimeout: number): void {
    for (const app of this.#endings.keys()) app.hasten(drainTimeout)
  }

  /** Settles when all endings that have begun by now are over. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#endings.values())
  }
}
