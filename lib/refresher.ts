import { lstat, stat } from 'node:fs/promises'
import type { DiskFaults } from './disk-faults.ts'
import { unlessGone } from './files/gone.ts'
import { isBelow } from './files/is-within.ts'
import { type Found, readFound } from './follower/found.ts'
import type { Follower } from './follower.ts'
import type { Settings } from './options.ts'
import { isEmpty, isSameRelease, isUnchanged } from './release.ts'
import { containsBasePath } from './vhost-path.ts'
import type { Vhost, VhostTable } from './vhost-table.ts'
import type { VhostWatch } from './vhost-watch.ts'

/**
 * A folder that is missing once may be in the middle of being replaced. It is gone for good when missing in this many
 * looks in a row, over 250 ms: with two looks alone, on a machine that was busy meanwhile, each could fall into an
 * absence of its own.
 */
const GONE_LOOKS = 5
const GONE_PAUSE = 250 / (GONE_LOOKS - 1)

/** Compares hostnames with what is on disk, and has the follower act on what has changed. */
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

  /** Reads what a hostname leads to now, and begins what is to be done about it, if anything. */
  async refresh(hostname: string): Promise<void> {
    const vhost = this.#table.peek(hostname)
    if (!vhost || (await this.#isAsRead(vhost))) return
    await this.#faults.guard(vhost, async () => {
      const found = await readFound(vhost, this.#settings)
      const isAway = !found || (await isPassedOver(vhost, found))
      if (isAway && !(await this.#isGoneForGood(vhost))) return
      if (this.#table.peek(hostname) !== vhost) return
      // Its next request goes to the app that serves others there, even if the newest release does not load.
      if (!found || (isAway && this.#follower.servedFrom(found.vhostPath))) {
        this.#follower.drop(vhost)
        return
      }
      // Another link or another pattern leads to the same release: the vhost path and the captures are different.
      if (found.realPath === vhost.realPath && found.vhostPath !== vhost.vhostPath) {
        this.#follower.enter(hostname, found)
        return
      }
      // While its folder was missing, there was nothing to watch.
      const isBack = vhost.absence !== undefined || !this.#watch.hasPlaces(vhost) || vhost.fault !== undefined
      vhost.fault = undefined
      if (!isAway) vhost.absence = undefined
      const { lastRead } = vhost
      const isNew = !isSameRelease(lastRead, found.release)
      vhost.lastRead = found.release
      if (found.realPath === vhost.realPath) {
        vhost.identity = found.identity
        vhost.readAt = found.readAt
      }
      if (lastRead) this.#follower.leaveRefused(vhost, lastRead)
      if (isNew || isBack || !this.#watch.isQuiet(vhost))
        void this.#follower.follow(vhost, found, isNew || isBack)
    })
  }

  /** Whether a quick look shows that nothing has changed, for a vhost that the first pattern leads to. */
  async #isAsRead(vhost: Vhost): Promise<boolean> {
    const { realPath, vhostPath, isFirstChoice, lastRead } = vhost
    const { basePath, getVhostPath, getVersion } = this.#settings
    if (getVhostPath || getVersion || !isFirstChoice || !lastRead || !this.#watch.isQuiet(vhost)) return false
    const readAt = performance.now()
    if (!(await isUnchanged(lastRead, vhostPath, this.#settings))) return false
    if (!isBelow(realPath, basePath) && (await containsBasePath(realPath, basePath).catch(() => true)))
      return false
    if (vhost.lastRead !== lastRead || !this.#watch.isQuiet(vhost)) return false
    vhost.readAt = readAt
    return true
  }

  /** Whether nothing has been at the place of a hostname for long enough. */
  async #isGoneForGood(vhost: Vhost): Promise<boolean> {
    const { basePath } = this.#settings
    // Rejects if the base path is missing: a fault to report, not the deletion of everything.
    if (isBelow(vhost.vhostPath, basePath)) await expectMounted(basePath, vhost)
    const now = performance.now()
    const { looks, last } = vhost.absence ?? { looks: 0, last: Number.NEGATIVE_INFINITY }
    if (now - last < GONE_PAUSE) return false
    vhost.absence = { looks: looks + 1, last: now }
    void this.#watch.wakeAfter(vhost.hostname, GONE_PAUSE)
    return looks + 1 >= GONE_LOOKS
  }
}

/** Rejects if nothing is at the base path but the empty folder on which the vhost's volume was mounted. */
async function expectMounted(basePath: string, { realPath, identity }: Vhost): Promise<void> {
  const { dev } = await stat(basePath)
  if (identity.startsWith(`${dev}:`) || !isBelow(realPath, basePath)) return
  if (await isEmpty(basePath)) throw new Error('the base path is empty, and on another volume than it was')
}

/**
 * Whether a hostname leads elsewhere only because nothing is at its own place: that may be in the middle of being
 * replaced, and the hostname must not show the catch-all meanwhile.
 */
async function isPassedOver(vhost: Vhost, found: Found): Promise<boolean> {
  if (found.skipped === 0 || found.vhostPath === vhost.vhostPath) return false
  return (await unlessGone(lstat(vhost.vhostPath))) === undefined
}
