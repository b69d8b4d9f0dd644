import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually, type World } from './world.ts'

/** Someone who asks aries.test again and again. */
export class Client {
  /** What was answered, without repetitions; a status where it was no success. */
  readonly story: string[] = []
  readonly #world: World
  readonly #asking: Promise<void>
  #isDone = false

  constructor(world: World) {
    this.#world = world
    this.#asking = this.#ask()
  }

  get hasFailed(): boolean {
    return this.story.some(answer => /^\d+$/.test(answer))
  }

  /** `limit` in milliseconds: a machine may be busy with other things. */
  async sees(answer: string, limit = 30_000): Promise<void> {
    await eventually(() => assert.equal(this.story.at(-1), answer), limit)
  }

  async #ask(): Promise<void> {
    while (!this.#isDone) {
      const { status, body } = await this.#world.get('aries.test')
      const answer = status === 200 ? body : String(status)
      if (this.story.at(-1) !== answer) this.story.push(answer)
      await delay(5)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDone = true
    await this.#asking
  }
}
