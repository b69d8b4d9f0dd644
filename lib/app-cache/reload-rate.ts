import { LRUCache } from 'lru-cache'

/** More reloads of one release than this within a minute are too many. */
export const RELOADS_A_MINUTE = 5
const MINUTE = 60 * 1000
const MAX_RELEASES = 1000

/** A change that is seen within this many milliseconds after a reload may be the app's own doing. */
const SOON = 200
/**
 * After this many such changes in a row it is; from then on each reload waits twice as long as the one before, up to a
 * limit.
 */
const SOON_IN_A_ROW = 60
const FIRST_PAUSE = 1000
const LONGEST_PAUSE = 10 * 1000

interface Reloads {
  times: number[]
  /** How many reloads in a row followed a change that came soon after the reload before. */
  inARow: number
  /** Whether the release was seen to have changed soon after the last one. */
  isChangedSoon: boolean
}

/** Finds releases that change endlessly, as when an app writes into its own folder, and slows their reloads down. */
export class ReloadRate {
  readonly #reloads = new LRUCache<string, Reloads>({ max: MAX_RELEASES })

  /** Notes a reload; returns whether it is the one that makes them too many. */
  isTooMany(realPath: string): boolean {
    const now = performance.now()
    const { times, inARow, isChangedSoon } = this.#of(realPath)
    const recent = [...times.filter(time => now - time < MINUTE), now]
    this.#reloads.set(realPath, {
      times: recent,
      inARow: isChangedSoon ? inARow + 1 : 0,
      isChangedSoon: false,
    })
    return recent.length === RELOADS_A_MINUTE + 1
  }

  /** Notes that a release has changed; returns how many milliseconds to leave it alone. */
  pauseBefore(realPath: string): number {
    const reloads = this.#of(realPath)
    const last = reloads.times.at(-1)
    if (last === undefined) return 0
    const since = performance.now() - last
    reloads.isChangedSoon ||= since < SOON
    if (!reloads.isChangedSoon || reloads.inARow < SOON_IN_A_ROW) return 0
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (reloads.inARow - SOON_IN_A_ROW))
    return Math.max(0, pause - since)
  }

  #of(realPath: string): Reloads {
    return this.#reloads.get(realPath) ?? { times: [], inARow: 0, isChangedSoon: false }
  }
}
