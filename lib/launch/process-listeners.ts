type ProcessListener = (...values: unknown[]) => void
type Added = readonly [event: string | symbol, listener: ProcessListener]

const MANY = 100

/** The listeners that an app adds to `process` while it loads, so that they can be removed with it. */
export class ProcessListeners {
  /** What the app added, and may have removed again. */
  #added: Added[] = []
  /** At this many, those that the app has removed are forgotten. */
  #many = MANY
  #removed: Added[] = []

  note(event: string | symbol, listener: ProcessListener): void {
    if (this.#added.length >= this.#many) {
      this.#added = this.#added.filter(added => present(added) !== undefined)
      this.#many = Math.max(MANY, 2 * this.#added.length)
    }
    this.#added.push([event, listener])
  }

  remove(): void {
    for (const added of this.#added) {
      const [event] = added
      const own = present(added)
      if (!own) continue
      process.off(event, own)
      this.#removed.push([event, own])
    }
    this.#added = []
  }

  /** Adds those that were removed again, as the app is used again. */
  putBack(): void {
    for (const [event, listener] of this.#removed) process.on(event, listener)
    this.#added.push(...this.#removed)
    this.#removed = []
  }

  /** Lets go of those that were removed. */
  forget(): void {
    this.#removed = []
  }
}

/** The listener as `process` holds it. One added with `once()` is wrapped, and is gone when it has been called. */
function present([event, listener]: Added): ProcessListener | undefined {
  const listeners = process.rawListeners(event) as (ProcessListener & { listener?: unknown })[]
  return listeners.find(raw => raw === listener || raw.listener === listener)
}
