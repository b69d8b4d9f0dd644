import { LRUCache } from 'lru-cache'
import type { ReadRelease } from './release.ts'
import type { VhostInfo } from './vhost-info.ts'

/** A name that leads to a release: one that serves, or one that failed to load. */
export interface Vhost {
  readonly hostname: string
  readonly vhostPath: string
  /** The real path of the release that serves this name; where none does, of the one that should. */
  readonly realPath: string
  /** Whether the first pattern of `vhostDir` led here: a later one is overruled when a new folder appears. */
  readonly isFirstChoice: boolean
  /** What each specifier of that pattern stands for. */
  readonly captures: readonly string[]
  /** When the reading that led it there began, by `performance.now()`. */
  readonly readAt: number
  /** The last reading of what is on disk, which saves work at the next. */
  lastRead?: ReadRelease | undefined
  /** How often in a row nothing was found at its place, and when last, by `performance.now()`. */
  absence?: { readonly looks: number; readonly last: number } | undefined
  /** Made once for each spelling of Host in a row. */
  info?: VhostInfo
}

/** Where wildcards lead any name to one release, it keeps this many; so strangers cannot crowd out other sites' names. */
const MAX_NAMES_PER_RELEASE = 100

/** The names that lead somewhere, at most so many; the least recently asked for goes first. */
export class VhostTable {
  readonly #byHostname: LRUCache<string, Vhost>
  readonly #byRealPath = new Map<string, Set<string>>()
  readonly #left: (vhost: Vhost) => void

  /** `left` is told of each name that had to make room for another. */
  constructor(max: number, left: (vhost: Vhost) => void) {
    this.#left = left
    this.#byHostname = new LRUCache({
      max,
      dispose: (vhost, _, reason) => {
        this.#unlist(vhost)
        // A deleted or re-pointed name is its caller's business.
        if (reason === 'evict') left(vhost)
      },
    })
  }

  get(hostname: string): Vhost | undefined {
    return this.#byHostname.get(hostname)
  }

  /** As `get`, but not a use. */
  peek(hostname: string): Vhost | undefined {
    return this.#byHostname.peek(hostname)
  }

  set(vhost: Vhost): void {
    this.#byHostname.set(vhost.hostname, vhost)
    const names = this.#byRealPath.get(vhost.realPath) ?? new Set()
    this.#byRealPath.set(vhost.realPath, names.add(vhost.hostname))
    const [oldest] = names
    const crowdedOut = names.size > MAX_NAMES_PER_RELEASE && oldest !== undefined && this.peek(oldest)
    if (!crowdedOut) return
    this.delete(crowdedOut.hostname)
    this.#left(crowdedOut)
  }

  delete(hostname: string): void {
    this.#byHostname.delete(hostname)
  }

  /** Every name that leads to a real path. */
  hostnames(realPath: string): string[] {
    return [...(this.#byRealPath.get(realPath) ?? [])]
  }

  /** Every name. */
  all(): string[] {
    return [...this.#byHostname.keys()]
  }

  #unlist({ hostname, realPath }: Vhost): void {
    const names = this.#byRealPath.get(realPath)
    if (!names?.delete(hostname)) return
    if (names.size === 0) this.#byRealPath.delete(realPath)
  }
}
