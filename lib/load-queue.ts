import { VhostError } from './errors.ts'

/** How many first loads may wait for their turn. */
const MAX_WAITING = 100
/** So many first loads at most go before a reload that waits. */
const FIRST_IN_A_ROW = 3

/** `first` loads have a client that waits; a `reload` has an older release that serves. */
export type Urgency = 'first' | 'reload'

/**
 * Lets a few loads run at a time; the others wait, first loads before reloads, yet not for ever: where clients go round
 * more sites than may stay loaded, there is always a first load. No reload is refused: there is one for an app at most.
 */
export class LoadQueue {
  readonly #maxConcurrent: number
  #running = 0
  #firstInARow = 0
  readonly #waiting: Record<Urgency, (() => void)[]> = { first: [], reload: [] }

  constructor(maxConcurrent: number) {
    this.#maxConcurrent = maxConcurrent
  }

  /** @throws VhostError `ERR_VHOST_OVERLOADED` where too many wait already. */
  async run<T>(urgency: Urgency, load: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#maxConcurrent) await this.#turn(urgency)
    else this.#running++
    try {
      return await load()
    } finally {
      // The place is handed on, so that nobody who comes now can take it from those who wait.
      const next = this.#takeNext()
      if (next) next()
      else this.#running--
    }
  }

  async #turn(urgency: Urgency): Promise<void> {
    if (urgency === 'first' && this.#waiting.first.length >= MAX_WAITING) {
      throw new VhostError('ERR_VHOST_OVERLOADED', { detail: `${MAX_WAITING} loads wait already` })
    }
    await new Promise<void>(resolve => this.#waiting[urgency].push(resolve))
  }

  #takeNext(): (() => void) | undefined {
    const { first, reload } = this.#waiting
    const isReloadsTurn = first.length === 0 || this.#firstInARow >= FIRST_IN_A_ROW
    if (isReloadsTurn && reload.length > 0) {
      this.#firstInARow = 0
      return reload.shift()
    }
    this.#firstInARow++
    return first.shift()
  }
}
