import type { App } from '../app.ts'
import { VhostError } from '../errors.ts'
import { chooseVictim } from './victim.ts'

/**
 * After this many evictions for each of `maxApps`, all uses are halved, so that an app that was once in demand can go.
 */
const AGE_EVERY = 100

/** The apps that serve, by real path, at most `maxApps`; knows when each was used, and which one goes for another. */
export class LoadedApps {
  readonly #max: number
  readonly #apps = new Map<string, App>()
  #uses = 0
  #evictions = 0

  constructor(maxApps: number) {
    this.#max = maxApps
  }

  get all(): App[] {
    return [...this.#apps.values()]
  }

  has(realPath: string): boolean {
    return this.#apps.has(realPath)
  }

  /** Does not count as a use. */
  get(realPath: string): App | undefined {
    return this.#apps.get(realPath)
  }

  set(realPath: string, app: App): void {
    this.#apps.set(realPath, app)
  }

  delete(realPath: string): void {
    this.#apps.delete(realPath)
  }

  use(app: App | undefined): App | undefined {
    if (app) app.usedAt = ++this.#uses
    return app
  }

  get isFull(): boolean {
    return this.#apps.size >= this.#max
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` if a victim is needed and `takeVictim()` would find none */
  expectRoom(): void {
    if (!this.isFull) return
    for (const app of this.#apps.values()) if (!app.isBusy) return
    throw everyAppIsBusy()
  }

  /**
   * The app to evict for another one; `last` only if there is no other.
   * @throws VhostError `ERR_VHOST_OVERLOADED` if every one is busy
   */
  takeVictim(last: App | undefined): App {
    const { all } = this
    const victim = chooseVictim(all.filter(app => app !== last)) ?? chooseVictim(all)
    if (!victim) throw everyAppIsBusy()
    if (++this.#evictions % (AGE_EVERY * this.#max) === 0) for (const app of all) app.age()
    return victim
  }
}

function everyAppIsBusy(): VhostError {
  return new VhostError('ERR_VHOST_OVERLOADED', { detail: 'every app is busy' })
}
