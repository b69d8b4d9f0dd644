import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import { debuglog, inspect } from 'node:util'
import { VhostError } from './errors.ts'
import { isSameRelease, type Release } from './release.ts'
import { printableEntry } from './values/printable.ts'
import { attempt, causeOf } from './values/thrown.ts'

/** Why an app left the cache. */
export type EvictReason = 'changed' | 'moved' | 'deleted' | 'reloaded' | 'lru' | 'idle' | 'crashed' | 'closed'

/** What every event of a router carries. */
export interface VhostEvent extends Release {
  /** The hostnames that lead to this release now. */
  readonly hostnames: readonly string[]
}

/** What each event of a router carries, by its name. */
export interface VhostEvents {
  load: VhostEvent & { readonly durationMs: number }
  reload: VhostEvent & { readonly durationMs: number; readonly previous: Release }
  evict: VhostEvent & {
    readonly reason: EvictReason
    /** Requests that had not ended within `drainTimeout`, and were cut. */
    readonly cut: number
  }
  /** A line that an isolated app wrote. */
  log: VhostEvent & { readonly stream: 'stdout' | 'stderr'; readonly line: string }
  error: VhostEvent & {
    readonly error: Error
    /** The release that still serves; undefined if none does. */
    readonly serving: Release | undefined
  }
}

/**
 * Listeners to `EventEmitter.errorMonitor` of `node:events` get errors too, but an error heard by them alone counts as
 * unheard.
 */
export interface Listen<R> {
  <E extends keyof VhostEvents>(event: E, listener: (about: VhostEvents[E]) => void): R
  (event: typeof EventEmitter.errorMonitor, listener: (about: VhostEvents['error']) => void): R
}

type Listener = (about: never) => void

type Note = <E extends keyof VhostEvents>(event: E, about: VhostEvents[E]) => void

const write = debuglog('express-van')

/** Writes decisions to stderr if `NODE_DEBUG` names `express-van`. */
export function debug(message: string, ...values: unknown[]): void {
  try {
    write(message, ...values)
  } catch {
    write(message, ...values.map(causeOf))
  }
}

/** Tells listeners and `node:diagnostics_channel` what happened; never throws at the caller. */
export class Events {
  readonly #emitter = new EventEmitter()
  readonly #note: Note

  /** `note` gets every event, but does not count as a listener. */
  constructor(note: Note = () => {}) {
    this.#note = note
  }

  readonly on: Listen<void> = (event: string | symbol, listener: Listener): void => {
    this.#emitter.on(event, listener as () => void)
  }

  readonly once: Listen<void> = (event: string | symbol, listener: Listener): void => {
    this.#emitter.once(event, listener as () => void)
  }

  readonly off: Listen<void> = (event: string | symbol, listener: Listener): void => {
    this.#emitter.off(event, listener as () => void)
  }

  emit<E extends keyof VhostEvents>(event: E, about: VhostEvents[E]): void {
    debug('%s %s %o', event, about.hostnames.join(' '), about)
    this.#note(event, about)
    channel(`express-van:${event}`).publish(about)
    const isUnheard = event === 'error' && this.#emitter.listenerCount('error') === 0
    if (isUnheard) writeError(about as VhostEvents['error'])
    try {
      // An EventEmitter throws an error that nobody listens to.
      this.#emitter.emit(isUnheard ? EventEmitter.errorMonitor : event, about)
    } catch (error) {
      // A listener's mistake must not stop a swap half way; as an uncaught exception it is still seen. Not by
      // `process.nextTick`: after an `fs.promises.realpath()`, Node 24 and 26 lose what is thrown there.
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

function writeError(about: VhostEvents['error']): void {
  const { hostnames, error } = about
  // Inspecting what an app threw may itself throw.
  const told = attempt(() => inspect(error, { customInspect: false })) ?? causeOf(error)
  console.error(
    printableEntry(`express-van: ${hostnames.join(', ') || '(no vhost)'}: ${consequenceOf(about)}: ${told}`),
  )
}

function consequenceOf({ error, serving, ...release }: VhostEvents['error']): string {
  if (!serving) return 'nothing serves'
  if (isSameRelease(serving, release)) return 'it serves on'
  // The router's own error is about a release that was not loaded; what an app throws is about one that has served.
  return error instanceof VhostError ? 'the release before it serves on' : 'the release after it serves'
}
