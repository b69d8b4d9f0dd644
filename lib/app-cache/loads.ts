import type { App } from '../app.ts'
import { VhostError } from '../errors.ts'
import type { ReadRelease, Release } from '../release.ts'
import type { Replacement } from './serving-apps.ts'

/** A release on its way to serve. */
export interface Load {
  readonly release: Release
  /** Where its entry was when it was read, which saves looking for it again; undefined if that is not sure. */
  readonly lastEntry: string | undefined
  /** The hostnames that wait for it; the one that began it is the first. */
  readonly hostnames: Set<string>
  /** Undefined if nothing serves there yet. */
  readonly replacing: Replacement | undefined
  readonly promise: Promise<App>
  /** Requests and replacements that wait for it. */
  waiting: number
  /** Of those, the ones that ask once more, when it is loaded, whether it is still to serve. */
  readonly wishes: NonNullable<Replacement['isWanted']>[]
  /** The loaded app, which counts the requests that wait from then on. */
  app?: App
}

/** The loads under way, one at a time for each real path: however many ask, all wait for the same one. */
export class Loads {
  readonly #run: (load: Load) => Promise<App>
  readonly #byRealPath = new Map<string, Load>()

  /** `run` does a load, and is called in a microtask of its own. */
  constructor(run: (load: Load) => Promise<App>) {
    this.#run = run
  }

  get(realPath: string): Load | undefined {
    return this.#byRealPath.get(realPath)
  }

  has(realPath: string): boolean {
    return this.#byRealPath.has(realPath)
  }

  get all(): Load[] {
    return [...this.#byRealPath.values()]
  }

  /** The app of a release, or of a load already under way at its real path, held until `app.letGo()`. */
  async join(release: Release | ReadRelease, hostname: string, replacing?: Replacement): Promise<App> {
    const load = this.#byRealPath.get(release.realPath) ?? this.#begin(release, replacing)
    load.hostnames.add(hostname)
    // For a moment, a load whose app serves already is still known as a load.
    if (load.app) load.app.hold()
    else load.waiting++
    if (replacing?.isWanted) load.wishes.push(replacing.isWanted)
    try {
      return await load.promise
    } catch (error) {
      throw error instanceof VhostError ? error.withHostname(hostname) : error
    }
  }

  /** Whoever asks from now on begins another load. */
  leave(load: Load): void {
    const { realPath } = load.release
    if (this.#byRealPath.get(realPath) === load) this.#byRealPath.delete(realPath)
  }

  /** Waits for a load under way at a real path, however it ends. */
  async settle(realPath: string): Promise<void> {
    await this.#byRealPath.get(realPath)?.promise.catch(() => {})
  }

  /** Settles when all loads that are under way now have ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.all.map(load => load.promise))
  }

  #begin(read: Release | ReadRelease, replacing: Replacement | undefined): Load {
    const { realPath, version } = read
    const load: Load = {
      // Events and load() hand this out: it is frozen, and holds only what a release is, not what reading it left
      // behind.
      release: Object.freeze({ realPath, version }),
      lastEntry: 'entry' in read && read.entryStamp !== undefined ? read.entry : undefined,
      hostnames: new Set(),
      replacing,
      // Begins after this load is noted, so that nothing ends before it is known.
      promise: Promise.resolve().then(() => this.#runToEnd(load)),
      waiting: 0,
      wishes: [],
    }
    this.#byRealPath.set(realPath, load)
    return load
  }

  async #runToEnd(load: Load): Promise<App> {
    try {
      return await this.#run(load)
    } finally {
      this.leave(load)
    }
  }
}

/** The hostname that began a load, which always waits for it. */
export function firstOf({ hostnames }: Load): string {
  const [first] = hostnames
  return first as string
}
