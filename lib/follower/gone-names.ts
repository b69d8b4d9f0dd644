import type { App } from '../app.ts'

/** How many names are kept for an app: they may come and go for as long as it serves. */
const MAX_NAMES = 100

/**
 * The hostnames that led to an app and are gone, while others still lead to it: when a vhost is deleted, they are seen
 * gone one after another.
 */
export class GoneNames {
  readonly #names = new WeakMap<App, readonly string[]>()

  /** Notes a hostname; returns all that are gone, this one last, without those that lead somewhere again. */
  note(app: App, hostname: string, leads: (name: string) => boolean): string[] {
    const before = (this.#names.get(app) ?? []).filter(name => name !== hostname && !leads(name))
    const names = [...before.slice(1 - MAX_NAMES), hostname]
    this.#names.set(app, names)
    return names
  }
}
