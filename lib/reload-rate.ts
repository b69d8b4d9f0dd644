import { LRUCache } from 'lru-cache'

/** More reloads of one release than this within a minute are too many. */
export const RELOADS_A_MINUTE = 5
const MINUTE = 60 * 1000
const MAX_RELEASES = 1000

/** Finds releases that change without an end, as where an app writes into its own folder. */
export class ReloadRate {
  readonly #times = new LRUCache<string, number[]>({ max: MAX_RELEASES })

  /** Notes a reload; gives whether it is the one that makes them too many. */
  isTooMany(realPath: string): boolean {
    const now = performance.now()
    const times = (this.#times.get(realPath) ?? []).filter(time => now - time < MINUTE)
    times.push(now)
    this.#times.set(realPath, times)
    return times.length === RELOADS_A_MINUTE + 1
  }
}
