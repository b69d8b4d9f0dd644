import { lstat, stat } from 'node:fs/promises'
import type { DiskFaults } from './disk-faults.ts'
import type { Follower } from './follower.ts'
import { type Found, readFound } from './found.ts'
import { unlessGone } from './gone.ts'
import { isBelow } from './is-within.ts'
import type { Settings } from './options.ts'
import { isEmpty, isSameRelease, isUnchanged } from './release.ts'
import { containsBasePath } from './vhost-path.ts'
import type { Vhost, VhostTable } from './vhost-table.ts'
import type { VhostWatch } from './vhost-watch.ts'

/**
 * What is gone once may be in the middle of being replaced. It is gone for good when seen so often in a row, over
 * 250 ms: of two looks alone, on a machine that was busy meanwhile, each could fall into an absence of its own.
 */
const GONE_LOOKS = 5
const GONE_PAUSE = 250 / (GONE_LOOKS - 1)

/** Compares names with what is on disk, and has followed what has changed. */
export class Refresher {
  readonly #settings: Settings
  readonly #table: VhostTable
  readonly #follower: Follower
  readonly #faults: DiskFaults
  readonly #watch: VhostWatch

  constructor(
    settings: Settings,
    table: VhostTable,
    follower: Follower,
    faults: DiskFaults,
    watch: VhostWatch,
  ) {
    this.#settings = settings
    this.#table = table
    this.#follower = follower
    this.#faults = faults
    this.#watch = watch
  }

  /** Reads what is there now, and begins what is to be done about it, if anything. */
  async refresh(hostname: string): Promise<void> {
    const vhost = this.#table.peek(hostname)
    if (!vhost || (await this.#isAsRead(vhost))) return
    await this.#faults.guard(vhost, async () => {
      const found = await readFound(vhost, this.#settings)
      const isAway = !found || (await isPassedOver(vhost, found))
      if (isAway && !(await this.#isGoneForGood(vhost))) return
      if (this.#table.peek(hostname) !== vhost) return
      // Its next request is served by what serves others there, also where the newest release does not load.
      if (!found || (isAway && this.#follower.servedFrom(found.vhostPath))) {
        this.#follower.drop(vhost)
        return
      }
      // By another link, or another pattern, to the same release: its path, and what it captures, are others.
      if (found.realPath === vhost.realPath && found.vhostPath !== vhost.vhostPath) {
        this.#follower.enter(hostname, found)
        this.#watch.wake(hostname)
        return
      }
      // While it was away there was nothing to watch.
      const isBack = vhost.absence !== undefined || !this.#watch.hasPlaces(vhost) || vhost.fault !== undefined
      vhost.fault = undefined
      if (!isAway) vhost.absence = undefined
      const isNew = !isSameRelease(vhost.lastRead, found.release)
      vhost.lastRead = found.release
      if (isNew || isBack || !this.#watch.isQuiet(vhost))
        void this.#follower.follow(vhost, found, isNew || isBack)
    })
  }

  /** Whether a look tells that nothing has changed, of what lies where the first pattern leads. */
  async #isAsRead(vhost: Vhost): Promise<boolean> {
    const { realPath, vhostPath, isFirstChoice, lastRead } = vhost
    const { basePath, getVhostPath, getVersion } = this.#settings
    if (getVhostPath || getVersion || !isFirstChoice || !lastRead || !this.#watch.isQuiet(vhost)) return false
    if (!(await isUnchanged(lastRead, vhostPath, this.#settings))) return false
    if (!isBelow(realPath, basePath) && (await containsBasePath(realPath, basePath).catch(() => true)))
      return false
    return vhost.lastRead === lastRead && this.#watch.isQuiet(vhost)
  }

  /** Whether nothing was at the place of a name for long enough. */
  async #isGoneForGood(vhost: Vhost): Promise<boolean> {
    const { basePath } = this.#settings
    // Rejects where it is missing: a fault to report, not the deletion of everything.
    if (isBelow(vhost.vhostPath, basePath)) await expectMounted(basePath, vhost)
    const now = performance.now()
    const { looks, last } = vhost.absence ?? { looks: 0, last: Number.NEGATIVE_INFINITY }
    if (now - last < GONE_PAUSE) return false
    vhost.absence = { looks: looks + 1, last: now }
    void this.#watch.wakeAfter(vhost.hostname, GONE_PAUSE)
    return looks + 1 >= GONE_LOOKS
  }
}

/** Rejects where nothing is at the base path but the folder on which the volume of a vhost was mounted. */
async function expectMounted(basePath: string, { realPath, identity }: Vhost): Promise<void> {
  const { dev } = await stat(basePath)
  if (identity.startsWith(`${dev}:`) || !isBelow(realPath, basePath)) return
  if (await isEmpty(basePath)) throw new Error('the base path is empty, and on another volume than it was')
}

/**
 * Whether a name leads elsewhere only because nothing is at its own place: it may be in the middle of being replaced,
 * and must not show the catch-all meanwhile.
 */
async function isPassedOver(vhost: Vhost, found: Found): Promise<boolean> {
  if (found.skipped === 0 || found.vhostPath === vhost.vhostPath) return false
  return (await unlessGone(lstat(vhost.vhostPath))) === undefined
}
