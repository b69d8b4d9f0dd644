import { LRUCache } from 'lru-cache'
import type { App } from '../app.ts'
import type { VhostError } from '../errors.ts'

const MAX_REMEMBERED = 1000
/** An app that ran this long before it crashed is restarted at once, in milliseconds. */
const STABLE = 30 * 1000
const FIRST_PAUSE = 100
const MAX_PAUSE = 30 * 1000

/** How an app's thread or process ended by itself. */
export interface LastExit {
  /** In words, such as `The app crashed: it ended with code 1`. */
  readonly how: string
  /** When, in ISO 8601. */
  readonly at: string
}

interface Past {
  readonly restarts: number
  readonly inARow: number
  readonly lastExit: LastExit | null
}

const NEVER: Past = { restarts: 0, inARow: 0, lastExit: null }

/** How often apps have crashed, by real path, and how long to wait before each is restarted. */
export class Crashes {
  readonly #past = new LRUCache<string, Past>({ max: MAX_REMEMBERED })

  /**
   * Notes a crash; returns the milliseconds to wait: none after the first, then twice as long each time, up to 30 s.
   */
  note(
    { release: { realPath }, loadedAt }: Pick<App, 'release' | 'loadedAt'>,
    { message }: VhostError,
  ): number {
    const now = new Date()
    const { restarts, inARow } = this.of(realPath)
    const isStable = now.getTime() - loadedAt.getTime() >= STABLE
    const before = isStable ? 0 : inARow
    const lastExit = { how: message, at: now.toISOString() }
    this.#past.set(realPath, { restarts: restarts + 1, inARow: before + 1, lastExit })
    return before === 0 ? 0 : Math.min(FIRST_PAUSE * 2 ** (before - 1), MAX_PAUSE)
  }

  of(realPath: string): Past {
    return this.#past.peek(realPath) ?? NEVER
  }
}
