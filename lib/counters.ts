import { LRUCache } from 'lru-cache'
import type { App } from './app.ts'
import { VhostError } from './errors.ts'
import type { EvictReason, VhostEvents } from './events.ts'

/** How many hostnames keep the counts of their ended apps; beyond that, the least recent one starts anew. */
const MAX_HOSTNAMES = 10_000

/**
 * Why a request went to no app. `no_app`: there is none, or it takes no upgrades. `failed`: its app does not load, there
 * was no room for it, or asking whom to trust threw.
 */
export type Unrouted = 'refused' | 'no_vhost' | 'no_app' | 'failed'

interface Ended {
  requests: number
  errors: number
  cut: number
}

/** Counts that only grow, kept for as long as the router lives, while apps come and go. */
export class Counters {
  readonly unrouted: Record<Unrouted, number> = { refused: 0, no_vhost: 0, no_app: 0, failed: 0 }
  loads = 0
  reloads = 0
  readonly evictions: Map<EvictReason, number> = new Map()
  /** By the code of the error; `other` for those without one of express-van's, such as an app's own. */
  readonly errors: Map<string, number> = new Map()
  readonly #ended = new LRUCache<string, Ended>({ max: MAX_HOSTNAMES })

  readonly note = <E extends keyof VhostEvents>(event: E, about: VhostEvents[E]): void => {
    if (event === 'load') this.loads++
    else if (event === 'reload') this.reloads++
    else if (event === 'evict') add(this.evictions, (about as VhostEvents['evict']).reason)
    else if (event === 'error') add(this.errors, labelOf((about as VhostEvents['error']).error))
  }

  /** Adds the counts of an app that has ended to those of its name. */
  noteEnd({ name, requests, errors, cut }: App): void {
    const ended = this.ended(name)
    this.#ended.set(name, {
      requests: ended.requests + requests,
      errors: ended.errors + errors,
      cut: ended.cut + cut,
    })
  }

  /** The counts of a name's ended apps. */
  ended(name: string): Readonly<Ended> {
    return this.#ended.get(name) ?? { requests: 0, errors: 0, cut: 0 }
  }

  /** The names of apps that have ended. */
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
