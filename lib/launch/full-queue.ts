import { AsyncResource } from 'node:async_hooks'

/** How long until an app whose queue of connections is full is asked again, in milliseconds. */
const FULL_PAUSE = 5

/** A busy app accepts nothing, and the system keeps only so many connections for it. */
export function isFull({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EAGAIN'
}

interface Waiting<T> {
  readonly value: T
  readonly context: AsyncResource
}

/**
 * Those that found an app's queue of connections full. One timer asks again for all, each in its own asynchronous
 * context.
 */
export class FullQueue<T> {
  readonly #ask: (value: T) => void
  readonly #isGone: (value: T) => boolean
  readonly #drop: (value: T) => void
  readonly #waiting: Waiting<T>[] = []
  #timer: NodeJS.Timeout | undefined

  /** `drop` is called for those that are gone or are left at `clear()`. */
  constructor(ask: (value: T) => void, isGone: (value: T) => boolean, drop: (value: T) => void = () => {}) {
    this.#ask = ask
    this.#isGone = isGone
    this.#drop = drop
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  wait(value: T): void {
    this.#waiting.push({ value, context: new AsyncResource('express-van.Waiting') })
    this.#askSoon()
  }

  /** If there was room for one, there may be room for others. */
  askAll(): void {
    for (let left = this.#waiting.length; left > 0 && this.giveFirst(this.#ask); left--);
  }

  /** Passes the first value that is not gone to a function. Returns false if there is none. */
  giveFirst(take: (value: T) => void): boolean {
    let next = this.#waiting.shift()
    for (; next && this.#isGone(next.value); next = this.#waiting.shift()) this.#drop(next.value)
    if (next) next.context.runInAsyncScope(take, undefined, next.value)
    return next !== undefined
  }

  clear(): void {
    for (const { value } of this.#waiting.splice(0)) this.#drop(value)
  }

  #askSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.giveFirst(this.#ask)
      // The one that was asked for may have got what another one left, and tells nothing about room for the rest.
      if (!this.isEmpty) this.#askSoon()
    }, FULL_PAUSE)
  }
}
