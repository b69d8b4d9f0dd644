import { VhostError } from '../errors.ts'

/** How many first loads may wait for their turn, and how many retries. */
const MAX_WAITING = 100
/** At most this many first loads in a row go before another load that waits. */
const FIRST_IN_A_ROW = 3

/** A client waits for a `first` load; an older release serves during a `reload`; a `retry` took too long before. */
export type Urgency = 'first' | 'reload' | 'retry'

/**
 * Lets a few loads run at a time; the others wait. First loads go before all others, but not for ever: when clients ask
 * for more sites in turn than may stay loaded, some first load always waits. No reload is refused, as there is at most
 * one for each app. Retries have half of the places, as each may hold its own until it has taken too long again.
 */
export class LoadQueue {
  readonly #maxConcurrent: number
  readonly #maxRetries: number
  #running = 0
  /** How many of the running ones are retries. */
  #retries = 0
  #firstInARow = 0
  readonly #waiting: Record<Urgency, (() => void)[]> = { first: [], reload: [], retry: [] }

  constructor(maxConcurrent: number) {
    this.#maxConcurrent = maxConcurrent
    this.#maxRetries = Math.max(1, Math.floor(maxConcurrent / 2))
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` if too many wait already. */
  async run<T>(urgency: Urgency, load: () => Promise<T>): Promise<T> {
    this.expectRoom(urgency)
    if (!this.#hasPlace(urgency)) await new Promise<void>(resolve => this.#waiting[urgency].push(resolve))
    else {
      this.#running++
      if (urgency === 'retry') this.#retries++
    }
    try {
      return await load()
    } finally {
      if (urgency === 'retry') this.#retries--
      // The place is handed on, so that no newcomer can take it from those that wait.
      const next = this.#takeNext()
      if (next) next()
      else this.#running--
    }
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` if `run()` would. */
  expectRoom(urgency: Urgency): void {
    if (urgency === 'reload' || this.#hasPlace(urgency)) return
    if (this.#waiting[urgency].length < MAX_WAITING) return
    throw new VhostError('ERR_VHOST_OVERLOADED', { detail: `${MAX_WAITING} loads wait already` })
  }

  #hasPlace(urgency: Urgency): boolean {
    return this.#running < this.#maxConcurrent && (urgency !== 'retry' || this.#retries < this.#maxRetries)
  }

  #takeNext(): (() => void) | undefined {
    const { first } = this.#waiting
    const next =
      first.length === 0 || this.#firstInARow >= FIRST_IN_A_ROW ? this.#takeLessUrgent() : undefined
    this.#firstInARow = next ? 0 : this.#firstInARow + 1
    return next ?? first.shift()
  }

  #takeLessUrgent(): (() => void) | undefined {
    const { reload, retry } = this.#waiting
    if (reload.length > 0 || this.#retries >= this.#maxRetries) return reload.shift()
    const next = retry.shift()
    if (next) this.#retries++
    return next
  }
}
