import { withoutFrames } from '../errors.ts'

/** A thousand times "still at it" is enough for one request, and nothing else slows down who sends them. */
const MOST = 1000

/** The interim answers to one request so far. */
export class InterimAnswers {
  #count = 0

  /** Notes one; gives an error where it is one too many. */
  note(): Error | undefined {
    if (++this.#count <= MOST) return undefined
    return withoutFrames(new Error(`more than ${MOST} interim answers`))
  }
}
