import { VhostError } from './errors.ts'

/** How many first loads may wait for their turn, and as many retries. */
const MAX_WAITING = 100
/** So many first loads at most go before another that waits. */
const FIRST_IN_A_ROW = 3

/** `first` loads have a client that waits; a `reload` has an older release that serves; a `retry` took too long before. */
export type Urgency = 'first' | 'reload' | 'retry'

/**
 * Lets a few loads run at a time; the others wait, first loads before all others, yet not for ever: where clients go round
 * more sites than may stay loaded, there is always a first load. No reload is refused: there is one for an app at most.
 * Retries have half of the places, as each may hold its own until it has taken too long again.
 */
export class LoadQueue {
  readonly #maxConcurrent: number
  readonly #maxRetries: number
  #running = 0
  /** Those among the running. */
  #retries = 0
  #firstInARow = 0
  readonly #waiting: Record<Urgency, (() => void)[]> = { first: [], reload: [], retry: [] }

  constructor(maxConcurrent: number) {
    this.#maxConcurrent = maxConcurrent
    this.#maxRetries = Math.max(1, Math.floor(maxConcurrent / 2))
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` where too many wait already. */
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
      // The place is handed on, so that nobody who comes now can take it from those who wait.
      const next = this.#takeNext()
      if (next) next()
      else this.#running--
    }
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` where `run()` would. */
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
