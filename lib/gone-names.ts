import type { App } from './app.ts'

/** So many are kept of an app: some come and go for as long as it serves. */
const MAX_NAMES = 100

/** The names that led to an app and are gone, while others lead on: of what is deleted, one is seen gone after another. */
export class GoneNames {
  readonly #names = new WeakMap<App, readonly string[]>()

  /** All of them, this one too and last; without those that lead somewhere again. */
  note(app: App, hostname: string, leads: (name: string) => boolean): string[] {
    const before = (this.#names.get(app) ?? []).filter(name => name !== hostname && !leads(name))
    const names = [...before.slice(1 - MAX_NAMES), hostname]
    this.#names.set(app, names)
    return names
  }
}
