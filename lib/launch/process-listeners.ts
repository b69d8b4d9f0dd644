type ProcessListener = (...values: unknown[]) => void
type Added = readonly [event: string | symbol, listener: ProcessListener]

const MANY = 100

/** The listeners that an app adds to `process` while it is loaded, so that they can go with it. */
export class ProcessListeners {
  /** What the app added, and may have removed again. */
  #added: Added[] = []
  /** When there are so many it is time to forget those that the app has removed. */
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

  /** Has those that were removed stand there again, where the app is used again. */
  putBack(): void {
    for (const [event, listener] of this.#removed) process.on(event, listener)
    this.#added.push(...this.#removed)
    this.#removed = []
  }

  /** Keeps those that were removed no longer. */
  forget(): void {
    this.#removed = []
  }
}

/** As it stands on `process`: one that is called once stands wrapped, and is gone when it was called. */
function present([event, listener]: Added): ProcessListener | undefined {
  const listeners = process.rawListeners(event) as (ProcessListener & { listener?: unknown })[]
  return listeners.find(raw => raw === listener || raw.listener === listener)
}
