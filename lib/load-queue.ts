import { VhostError } from './errors.ts'

/** How many loads may wait for their turn. */
const MAX_WAITING = 100

/** `first` loads have a client that waits; a `reload` has an older release that serves. */
export type Urgency = 'first' | 'reload'

/** Lets a few loads run at a time; the others wait, first loads before reloads. */
export class LoadQueue {
  readonly #maxConcurrent: number
  #running = 0
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
      const next = this.#waiting.first.shift() ?? this.#waiting.reload.shift()
      if (next) next()
      else this.#running--
    }
  }

  async #turn(urgency: Urgency): Promise<void> {
    const { first, reload } = this.#waiting
    if (first.length + reload.length >= MAX_WAITING) {
      throw new VhostError('ERR_VHOST_OVERLOADED', { detail: `${MAX_WAITING} loads wait already` })
    }
    await new Promise<void>(resolve => this.#waiting[urgency].push(resolve))
  }
}
