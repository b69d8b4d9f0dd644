import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** What a process can be asked to do. */
type Verbs = Record<string, (value: never) => unknown>
type Value<Verb> = Verb extends (value: infer V) => unknown ? V : never
type Result<Verb> = Verb extends (value: never) => infer R ? Awaited<R> : never

interface Question {
  readonly id: number
  readonly verb: string
  readonly value: unknown
}

interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** A compiled module of this folder in a process of its own, so that its heap and its CPU time are its own. */
export class Worker<V extends Verbs> {
  readonly #name: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #questions = 0
  #complaints = ''

  constructor(name: string) {
    this.#name = name
    this.#child = fork(join(import.meta.dirname, `${name}.js`), {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      // Otherwise Node's test runner would take the child's output for a report.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-2000)
    })
    this.#child.on('message', (reply: Reply) => this.#waiting.get(reply.id)?.(reply))
    this.#child.on('error', error => this.#failAll(`${this.#name}: ${error.message}`))
    this.#child.on('close', (code, signal) => this.#failAll(`${this.#name} ended with ${code ?? signal}`))
  }

  /** Rejects if the verb does, or if the process ends before it has answered. */
  async ask<Verb extends keyof V & string>(verb: Verb, value: Value<V[Verb]>): Promise<Result<V[Verb]>> {
    if (!this.#isRunning) throw new Error(this.#told(`${this.#name} is not running`))
    const id = ++this.#questions
    const replied = new Promise<Reply>(resolve => this.#waiting.set(id, resolve))
    this.#child.send({ id, verb, value } satisfies Question)
    const { result, error } = await replied
    this.#waiting.delete(id)
    if (error !== undefined) throw new Error(error)
    return result as Result<V[Verb]>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  #failAll(reason: string): void {
    for (const [id, reply] of this.#waiting) reply({ id, error: this.#told(reason) })
  }

  #told(reason: string): string {
    return this.#complaints === '' ? reason : `${reason}:\n${this.#complaints}`
  }
}

/** Runs in the process itself: does what it is asked until nobody can ask any more. */
export function answer<V extends Verbs>(verbs: V): V {
  process.on('message', (question: Question) => {
    void replyTo(question, verbs).then(reply => process.send?.(reply))
  })
  process.on('disconnect', () => process.exit())
  return verbs
}

async function replyTo<V extends Verbs>({ id, verb, value }: Question, verbs: V): Promise<Reply> {
  try {
    return { id, result: await verbs[verb]?.(value as never) }
  } catch (error) {
    return { id, error: String((error as Error).stack) }
  }
}
