import { AsyncResource } from 'node:async_hooks'

/** Until an app whose queue of connections is full is asked again, in milliseconds. */
const FULL_PAUSE = 5

/** An app that is busy accepts nothing, and the system keeps no more than so many connections for it. */
export function isFull({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EAGAIN'
}

interface Waiting<T> {
  readonly value: T
  readonly context: AsyncResource
}

/** What found an app's queue of connections full: one asks again for all, each in its own asynchronous context. */
export class FullQueue<T> {
  readonly #ask: (value: T) => void
  readonly #isGone: (value: T) => boolean
  readonly #drop: (value: T) => void
  readonly #waiting: Waiting<T>[] = []
  #timer: NodeJS.Timeout | undefined

  /** `drop` is told of those for which there is nothing left to ask. */
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
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.giveFirst(this.#ask)
    }, FULL_PAUSE)
  }

  /** Where there was room for one there may be for others. */
  askAll(): void {
    for (let left = this.#waiting.length; left > 0 && this.giveFirst(this.#ask); left--);
  }

  /** Gives the first that is not gone to a function; false where there is none. */
  giveFirst(take: (value: T) => void): boolean {
    let next = this.#waiting.shift()
    for (; next && this.#isGone(next.value); next = this.#waiting.shift()) this.#drop(next.value)
    if (next) next.context.runInAsyncScope(take, undefined, next.value)
    return next !== undefined
  }

  clear(): void {
    for (const { value } of this.#waiting.splice(0)) this.#drop(value)
  }
}
