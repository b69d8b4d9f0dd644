import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually, type World } from './world.ts'

/** Asks a host again and again. */
export class Client {
  /** The answers, without repetitions; a failed request is noted by its status. */
  readonly story: string[] = []
  readonly #world: World
  readonly #host: string
  readonly #asking: Promise<void>
  #isDone = false

  constructor(world: World, host = 'aries.test') {
    this.#world = world
    this.#host = host
    this.#asking = this.#ask()
  }

  get hasFailed(): boolean {
    return this.story.some(answer => /^\d+$/.test(answer))
  }

  /** `limit` in milliseconds: the machine may be busy with other things. */
  async sees(answer: string, limit = 30_000): Promise<void> {
    await eventually(() => assert.equal(this.story.at(-1), answer), limit)
  }

  /** Asks one last time, and returns the story. */
  async stop(): Promise<readonly string[]> {
    await this[Symbol.asyncDispose]()
    await this.#askOnce()
    return this.story
  }

  async #ask(): Promise<void> {
    while (!this.#isDone) {
      await this.#askOnce()
      await delay(5)
    }
  }

  async #askOnce(): Promise<void> {
    const { status, body } = await this.#world.get(this.#host)
    const answer = status === 200 ? body : String(status)
    if (this.story.at(-1) !== answer) this.story.push(answer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDone = true
    await this.#asking
  }
}
