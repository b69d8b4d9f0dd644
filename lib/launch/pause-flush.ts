import type { ServerResponse } from 'node:http'
import { attempt } from '../thrown.ts'

/**
 * Has a middleware before the router that packs answers, as compression does, send what it keeps back when the app pauses:
 * in the router's process the app would say so, by `res.flush()`.
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
    // In between, whatever is there is read.
    this.#look = setImmediate(() => {
      this.#look = setImmediate(this.#flush)
    })
  }

  readonly #flush = (): void => {
    if (this.#isDue()) attempt(() => this.#res.flush?.())
  }
}
