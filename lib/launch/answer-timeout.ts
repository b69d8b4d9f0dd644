import { afterReading } from './after-reading.ts'

/** How long an app may take to begin its answer. */
export class AnswerTimeout {
  readonly #timer: NodeJS.Timeout
  #isLate = false

  /** Calls `late` after this many milliseconds, unless `end()` comes first. */
  constructor(milliseconds: number, late: () => void) {
    this.#timer = setTimeout(() => {
      this.#isLate = true
      afterReading(() => {
        if (this.#isLate) late()
      })
    }, milliseconds)
  }

  /** Gives the app its full time again from now on. No effect after `end()`. */
  restart(): void {
    this.#isLate = false
    this.#timer.refresh()
  }

  end(): void {
    this.#isLate = false
    clearTimeout(this.#timer)
  }
}
