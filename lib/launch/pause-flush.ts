import type { ServerResponse } from 'node:http'
import { attempt } from '../values/thrown.ts'

/**
 * Makes a middleware around the router that packs answers, as compression does, send what it holds back when the app
 * pauses. In process, the app would ask for that by `res.flush()`.
 */
export class PauseFlush {
  readonly #res: ServerResponse & { flush?: () => void }
  readonly #isDue: () => boolean
  #look: NodeJS.Immediate | undefined

  constructor(res: ServerResponse, isDue: () => boolean) {
    this.#res = res
    this.#isDue = isDue
  }

  noteWrite(): void {
    if (typeof this.#res.flush !== 'function') return
    clearImmediate(this.#look)
    // Between the two, whatever is there is read.
    this.#look = setImmediate(() => {
      this.#look = setImmediate(this.#flush)
    })
  }

  readonly #flush = (): void => {
    if (this.#isDue()) attempt(() => this.#res.flush?.())
  }
}
