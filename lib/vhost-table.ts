import type { App } from './app.ts'
import type { VhostError } from './errors.ts'
import type { ReadRelease } from './release.ts'
import { leastRecent, type Used } from './uses.ts'
import type { Told } from './vhost-info.ts'

/** A name that leads to a release: one that serves, or one that failed to load. */
export interface Vhost extends Used, Told {
  readonly hostname: string
  readonly vhostPath: string
  /** The real path of the release that serves this name; where none does, of the one that should. */
  readonly realPath: string
  /** Device and inode of the real path. */
  readonly identity: string
  /** Whether it has its folder for itself, and does not share it with others by a wildcard. */
  readonly isExact: boolean
  /** Whether the first pattern of `vhostDir` led here: a later one is overruled when a new folder appears. */
  readonly isFirstChoice: boolean
  /** What each specifier of that pattern stands for. */
  readonly captures: readonly string[]
  /** When the reading that led it there began, by `performance.now()`. */
  readonly readAt: number
  /** The last reading of what is on disk, which saves work at the next. */
  lastRead: ReadRelease | undefined
  /** How often in a row nothing was found at its place, and when last, by `performance.now()`. */
  absence: { readonly looks: number; readonly last: number } | undefined
  /** What was told last to be wrong with its place on disk, so that it is told once; `kind` tells it from another. */
  fault: { readonly kind: string; readonly error: VhostError; readonly since: Date } | undefined
  /** The app that serves this name, once it was asked for. */
  app: App | undefined
}

/**
 * Where wildcards lead any name to one release, it keeps this many, so strangers cannot crowd out other sites' names; or
 * one for each wildcard, by which what serves there is known.
 */
const MAX_NAMES_PER_RELEASE = 100
/** Once one of them has given way, the next does so many milliseconds later: to keep an eye on a name is not for nothing. */
const CROWD_PAUSE = 100
/** Names by what they have in common. */
type NameIndex = Map<string, string[]>

/** The share of names that goes at once when there are too many: to find the least recent ones takes a look at all. */
const LEAVING = 0.01

/**
 * The names that lead somewhere, at most so many; the least recently asked for go first. An app that is busy keeps its
 * last name, for which the table may be over its limit until the next one comes.
 */
export class VhostTable {
  readonly #max: number
  readonly #isBusy: (realPath: string) => boolean
  readonly #left: (vhost: Vhost) => void
  readonly #byHostname = new Map<string, Vhost>()
  readonly #byRealPath: NameIndex = new Map()
  /** Those alone that may share it. */
  readonly #byVhostPath: NameIndex = new Map()
  /** When one of as many names as a release may have gave way last, by `performance.now()`. */
  readonly #crowdedAt = new Map<string, number>()
  #uses = 0

  /** `isBusy` says whether an app has requests; `left` is told of each name that had to make room for another. */
  constructor(max: number, isBusy: (realPath: string) => boolean, left: (vhost: Vhost) => void) {
    this.#max = max
    this.#isBusy = isBusy
    this.#left = left
  }

  get(hostname: string): Vhost | undefined {
    const vhost = this.#byHostname.get(hostname)
    if (vhost) vhost.usedAt = ++this.#uses
    return vhost
  }

  /** As `get`, but not a use. */
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
      // Operators know the app by its first.
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

  /** Of the names that wildcards lead to a folder, the first of those that were led there last. */
  sharing(vhostPath: string): Vhost | undefined {
    let last: Vhost | undefined
    for (const hostname of this.#byVhostPath.get(vhostPath) ?? []) {
      const vhost = this.#byHostname.get(hostname) as Vhost
      if (!last || vhost.readAt > last.readAt) last = vhost
    }
    return last
  }

  /** Every name that leads to a real path. */
  hostnames(realPath: string): string[] {
    return [...(this.#byRealPath.get(realPath) ?? [])]
  }

  /** Whether another name that leads to a real path is worth its place: one of many is so now and then. */
  hasRoomFor({ realPath, vhostPath, isExact }: Pick<Vhost, 'realPath' | 'vhostPath' | 'isExact'>): boolean {
    const { length } = this.#byRealPath.get(realPath) ?? []
    if (length < MAX_NAMES_PER_RELEASE) return true
    const isFirstOfWildcard = !isExact && !this.#byVhostPath.has(vhostPath)
    const crowdedAt = this.#crowdedAt.get(realPath) ?? Number.NEGATIVE_INFINITY
    return isFirstOfWildcard || performance.now() - crowdedAt >= CROWD_PAUSE
  }

  /** What was read last of a release by one of the names that lead to it; others may be on their way elsewhere. */
  lastRead(realPath: string): ReadRelease | undefined {
    for (const hostname of this.#byRealPath.get(realPath) ?? []) {
      const lastRead = this.#byHostname.get(hostname)?.lastRead
      if (lastRead?.realPath === realPath) return lastRead
    }
    return undefined
  }

  /** Looks up anew what app serves there. */
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
      // It is in use, however long ago that began.
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
