import { afterReading } from './after-reading.ts'

/** How long an app may take to begin its answer. */
export class AnswerTimeout {
  readonly #timer: NodeJS.Timeout
  #isLate = false

  /** `late` is told after so many milliseconds, unless the answer, or the end, is there by then. */
  constructor(milliseconds: number, late: () => void) {
    this.#timer = setTimeout(() => {
      this.#isLate = true
      afterReading(() => {
        if (this.#isLate) late()
      })
    }, milliseconds)
  }

  /** The app has all of its time from here on; without effect after the end. */
  restart(): void {
    this.#isLate = false
    this.#timer.refresh()
  }

  end(): void {
    this.#isLate = false
    clearTimeout(this.#timer)
  }
}
