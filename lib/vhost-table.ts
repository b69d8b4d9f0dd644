import type { App } from './app.ts'
import type { VhostError } from './errors.ts'
import type { ReadRelease } from './release.ts'
import { leastRecent, type Used } from './uses.ts'
import type { Told } from './vhost-info.ts'

/** A hostname that leads to a release: one that serves, or one that failed to load. */
export interface Vhost extends Used, Told {
  readonly hostname: string
  readonly vhostPath: string
  /** The real path of the release that serves this hostname; if none does, of the one that should. */
  readonly realPath: string
  /** Device and inode of the real path, as last read: another folder may have taken its place. */
  identity: string
  /** Whether it has its folder to itself, and does not share it with others by a wildcard. */
  readonly isExact: boolean
  /** Whether the first pattern of `vhostDir` led here: a later one is overruled when a new folder appears. */
  readonly isFirstChoice: boolean
  /** What each specifier of the pattern that led here stands for. */
  readonly captures: readonly string[]
  /** When the last reading that led it here, or found it here, began, by `performance.now()`. */
  readAt: number
  /** The last reading of what is on disk, which saves work at the next. */
  lastRead: ReadRelease | undefined
  /** How often in a row nothing was found at its place, and when last, by `performance.now()`. */
  absence: { readonly looks: number; readonly last: number } | undefined
  /** The last reported fault of its place on disk, so that it is reported once; `kind` tells it from another. */
  fault: { readonly kind: string; readonly error: VhostError; readonly since: Date } | undefined
  /** The app that serves this hostname, once it has been asked for. */
  app: App | undefined
}

/**
 * How many hostnames a release keeps if wildcards lead any name to it, so that strangers cannot crowd out those of
 * other sites; or one for each wildcard, which shows what serves there.
 */
const MAX_NAMES_PER_RELEASE = 100
/**
 * Once one of them has given way, the next may do so only this many milliseconds later: to watch a hostname has a cost.
 */
const CROWD_PAUSE = 100
/** Hostnames by what they have in common. */
type NameIndex = Map<string, string[]>

/**
 * The share of hostnames that goes at once when there are too many: to find the least recent ones takes a look at all.
 */
const LEAVING = 0.01

/**
 * The hostnames that lead somewhere, up to a maximum; the least recently used go first. A busy app keeps its last
 * hostname, so the table may be over its limit until the next one comes.
 */
export class VhostTable {
  readonly #max: number
  readonly #isBusy: (realPath: string) => boolean
  readonly #left: (vhost: Vhost) => void
  readonly #byHostname = new Map<string, Vhost>()
  readonly #byRealPath: NameIndex = new Map()
  /** Only the hostnames that may share their vhost path. */
  readonly #byVhostPath: NameIndex = new Map()
  /** When a real path that was full last had a hostname give way, by `performance.now()`. */
  readonly #crowdedAt = new Map<string, number>()
  #uses = 0

  /** `isBusy` says whether an app has requests; `left` is called with each entry that had to make room for another. */
  constructor(max: number, isBusy: (realPath: string) => boolean, left: (vhost: Vhost) => void) {
    this.#max = max
    this.#isBusy = isBusy
    this.#left = left
  }

  get(hostname: string): Vhost | undefined {
    const vhost = this.#byHostname.get(hostname)
    return vhost && this.use(vhost)
  }

  /** Counts a use of what `peek` has found, and returns it. */
  use(vhost: Vhost): Vhost {
    vhost.usedAt = ++this.#uses
    return vhost
  }

  /** As `get`, but does not count as a use. */
  peek(hostname: string): Vhost | undefined {
    return this.#byHostname.get(hostname)
  }

  set(vhost: Vhost): void {
    const { hostname, realPath, vhostPath, isExact } = vhost
    this.delete(hostname)
    vhost.usedAt = ++this.#uses
    this.#byHostname.set(hostname, vhost)
    if (!isExact) addName(this.#byVhostPath, vhostPath, hostname)
    const names = addName(this.#byRealPath, realPath, hostname)
    if (names.length > MAX_NAMES_PER_RELEASE) {
      this.#crowdedAt.set(realPath, performance.now())
      const spare = names.filter(name => name !== hostname && !this.#isLastOfWildcard(name))
      // Operators know the app by its first hostname, so that one goes last.
      const others = spare.filter(name => name !== names[0])
      if (spare.length > 0) this.#crowdOut(this.#leastRecentOf(others.length > 0 ? others : spare))
    }
    if (this.#byHostname.size > this.#max) this.#makeRoom()
  }

  delete(hostname: string): void {
    const vhost = this.#byHostname.get(hostname)
    if (!vhost) return
    const { realPath, vhostPath, isExact } = vhost
    this.#byHostname.delete(hostname)
    removeName(this.#byRealPath, realPath, hostname)
    if (!isExact) removeName(this.#byVhostPath, vhostPath, hostname)
    if (!this.#byRealPath.has(realPath)) this.#crowdedAt.delete(realPath)
  }

  /** Of the hostnames that wildcards lead to a folder, the one that was led there last, by the time of its reading. */
  sharing(vhostPath: string): Vhost | undefined {
    let last: Vhost | undefined
    for (const hostname of this.#byVhostPath.get(vhostPath) ?? []) {
      const vhost = this.#byHostname.get(hostname) as Vhost
      if (!last || vhost.readAt > last.readAt) last = vhost
    }
    return last
  }

  /** Every hostname that leads to a real path. */
  hostnames(realPath: string): string[] {
    return [...(this.#byRealPath.get(realPath) ?? [])]
  }

  /** Whether another hostname that leads to a real path is worth its place: if there are many, only now and then. */
  hasRoomFor({ realPath, vhostPath, isExact }: Pick<Vhost, 'realPath' | 'vhostPath' | 'isExact'>): boolean {
    const { length } = this.#byRealPath.get(realPath) ?? []
    if (length < MAX_NAMES_PER_RELEASE) return true
    const isFirstOfWildcard = !isExact && !this.#byVhostPath.has(vhostPath)
    const crowdedAt = this.#crowdedAt.get(realPath) ?? Number.NEGATIVE_INFINITY
    return isFirstOfWildcard || performance.now() - crowdedAt >= CROWD_PAUSE
  }

  /** The last reading of a release, by one of the hostnames that lead to it; others may be on their way elsewhere. */
  lastRead(realPath: string): ReadRelease | undefined {
    for (const hostname of this.#byRealPath.get(realPath) ?? []) {
      const lastRead = this.#byHostname.get(hostname)?.lastRead
      if (lastRead?.realPath === realPath) return lastRead
    }
    return undefined
  }

  /** Has the app of a real path looked up anew. */
  forgetApp(realPath: string): void {
    for (const hostname of this.#byRealPath.get(realPath) ?? []) {
      const vhost = this.#byHostname.get(hostname)
      if (vhost) vhost.app = undefined
    }
  }

  get size(): number {
    return this.#byHostname.size
  }

  #makeRoom(): void {
    const count = Math.max(this.#byHostname.size - this.#max, Math.floor(this.#max * LEAVING))
    const until = leastRecent(this.#byHostname.values(), count)
    for (const vhost of this.#byHostname.values()) {
      if (vhost.usedAt > until) continue
      // Its app is in use, however long ago that began.
      if (this.#isLastOfBusy(vhost)) vhost.usedAt = ++this.#uses
      else this.#crowdOut(vhost.hostname)
    }
  }

  #leastRecentOf(hostnames: readonly string[]): string {
    const usedAt = (hostname: string): number => (this.#byHostname.get(hostname) as Vhost).usedAt
    return hostnames.reduce((least, hostname) => (usedAt(hostname) < usedAt(least) ? hostname : least))
  }

  #isLastOfBusy({ realPath }: Vhost): boolean {
    return this.#byRealPath.get(realPath)?.length === 1 && this.#isBusy(realPath)
  }

  #isLastOfWildcard(hostname: string): boolean {
    const { isExact, vhostPath } = this.#byHostname.get(hostname) as Vhost
    return !isExact && this.#byVhostPath.get(vhostPath)?.length === 1
  }

  #crowdOut(hostname: string): void {
    const vhost = this.#byHostname.get(hostname) as Vhost
    this.delete(hostname)
    this.#left(vhost)
  }
}

function addName(index: NameIndex, key: string, hostname: string): string[] {
  const names = index.get(key)
  if (names) names.push(hostname)
  else index.set(key, [hostname])
  return names ?? [hostname]
}

function removeName(index: NameIndex, key: string, hostname: string): void {
  const names = index.get(key) as string[]
  if (names.length === 1) index.delete(key)
  else names.splice(names.indexOf(hostname), 1)
}
