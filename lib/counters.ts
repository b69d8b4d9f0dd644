import { LRUCache } from 'lru-cache'
import type { App } from './app.ts'
import { VhostError } from './errors.ts'
import type { EvictReason, VhostEvents } from './events.ts'

/** So many hostnames keep what their ended apps had counted; beyond that the least recent one begins anew. */
const MAX_HOSTNAMES = 10_000

/** Why a request went to no app. `failed` had one that does not load, or for which there was no room. */
export type Unrouted = 'refused' | 'no_vhost' | 'no_app' | 'failed'

interface Ended {
  requests: number
  errors: number
  cut: number
}

/** What only ever grows: counted here for as long as the router lives, while apps come and go. */
export class Counters {
  readonly unrouted: Record<Unrouted, number> = { refused: 0, no_vhost: 0, no_app: 0, failed: 0 }
  loads = 0
  reloads = 0
  readonly evictions: Map<EvictReason, number> = new Map()
  /** By the code of the error; `other` for those of apps and of the disk. */
  readonly errors: Map<string, number> = new Map()
  readonly #ended = new LRUCache<string, Ended>({ max: MAX_HOSTNAMES })

  readonly note = <E extends keyof VhostEvents>(event: E, about: VhostEvents[E]): void => {
    if (event === 'load') this.loads++
    else if (event === 'reload') this.reloads++
    else if (event === 'evict') add(this.evictions, (about as VhostEvents['evict']).reason)
    else if (event === 'error') add(this.errors, labelOf((about as VhostEvents['error']).error))
  }

  /** An app is gone: what it counted stays under its name. */
  noteEnd({ name, requests, errors, cut }: App): void {
    const ended = this.ended(name)
    this.#ended.set(name, {
      requests: ended.requests + requests,
      errors: ended.errors + errors,
      cut: ended.cut + cut,
    })
  }

  /** What the ended apps of a name had counted. */
  ended(name: string): Readonly<Ended> {
    return this.#ended.get(name) ?? { requests: 0, errors: 0, cut: 0 }
  }

  /** The names that had apps which ended. */
  get endedNames(): string[] {
    return [...this.#ended.keys()]
  }
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function labelOf(error: Error): string {
  return error instanceof VhostError ? error.code : 'other'
}
