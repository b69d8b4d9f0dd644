import type { App } from './app.ts'
import { VhostError } from './errors.ts'
import type { Release } from './release.ts'
import type { Replacement } from './serving-apps.ts'

/** A release on its way to serve. */
export interface Load {
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

/** The loads under way, one at a time for each real path: however many ask, all wait for the same one. */
export class Loads {
  readonly #run: (load: Load) => Promise<App>
  readonly #byRealPath = new Map<string, Load>()

  /** `run` does a load, in a turn of its own. */
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

  /** The app of a release, or of what is being loaded there already, held until `app.waiting--`. */
  async join(release: Release, hostname: string, replacing?: Replacement): Promise<App> {
    const load = this.#byRealPath.get(release.realPath) ?? this.#begin(release, replacing)
    load.hostnames.add(hostname)
    // In the turn in which its app comes to serve it is known as a load still.
    if (load.app) load.app.waiting++
    else load.waiting++
    try {
      return await load.promise
    } catch (error) {
      throw error instanceof VhostError ? error.withHostname(hostname) : error
    }
  }

  /** Waits for a load that is under way there, however it ends. */
  async settle(realPath: string): Promise<void> {
    await this.#byRealPath.get(realPath)?.promise.catch(() => {})
  }

  /** Settles when all that are under way now have ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.all.map(load => load.promise))
  }

  #begin({ realPath, version }: Release, replacing: Replacement | undefined): Load {
    const load: Load = {
      // Events and load() give it away: only what a release is, not what reading it left behind, and not to be changed.
      release: Object.freeze({ realPath, version }),
      hostnames: new Set(),
      replacing,
      // After this load is noted, so that nothing ends before it is known.
      promise: Promise.resolve().then(() => this.#runToEnd(load)),
      waiting: 0,
    }
    this.#byRealPath.set(realPath, load)
    return load
  }

  async #runToEnd(load: Load): Promise<App> {
    try {
      return await this.#run(load)
    } finally {
      this.#byRealPath.delete(load.release.realPath)
    }
  }
}

/** Whoever began a load waits for it. */
export function firstOf({ hostnames }: Load): string {
  const [first] = hostnames
  return first as string
}
