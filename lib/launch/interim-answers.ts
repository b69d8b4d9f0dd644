import { withoutFrames } from '../errors.ts'

/** A thousand are enough for one request, and nothing else slows down an app that sends them. */
const MOST = 1000

/** The interim answers to one request so far. */
export class InterimAnswers {
  #count = 0

  /** Counts one. Returns an error if it is one too many. */
  note(): Error | undefined {
    if (++this.#count <= MOST) return undefined
    return withoutFrames(new Error(`more than ${MOST} interim answers`))
  }
}
