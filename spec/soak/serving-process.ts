import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Isolation } from '../../lib/index.ts'
import type { Question, Reply, Verbs } from './server.ts'

/** The router in a process of its own, so that changes to folders come in the middle of its work. */
export class ServingProcess {
  readonly port: number
  /** What the process wrote to stderr; resolves when it has ended. */
  readonly complaints: Promise<string>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers>()
  #questions = 0

  static async start(
    basePath: string,
    { watch, isolation }: { watch: boolean; isolation: Isolation },
  ): Promise<ServingProcess> {
    const file = join(import.meta.dirname, `server${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`)
    const child = fork(file, [basePath, String(watch), isolation], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    const complaints = text(child.stderr as NodeJS.ReadableStream as never)
    const [port] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(async () => Promise.reject(new Error(await complaints))),
    ])
    return new ServingProcess(child, port as number, complaints)
  }

  private constructor(child: ChildProcess, port: number, complaints: Promise<string>) {
    this.#child = child
    this.port = port
    this.complaints = complaints
    child.on('message', ({ id, value, error }: Reply) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(value)
      else waiting?.reject(new Error(error))
    })
    child.on('exit', code => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the server ended with ${code}`))
    })
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async ask<V extends keyof Verbs>(verb: V, value = ''): Promise<Awaited<ReturnType<Verbs[V]>>> {
    const question: Question = { id: ++this.#questions, verb, value }
    const reply = await new Promise((resolve, reject) => {
      this.#waiting.set(question.id, { resolve, reject })
      this.#child.send(question)
    })
    return reply as Awaited<ReturnType<Verbs[V]>>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}

interface PromiseWithResolvers {
  resolve(value: unknown): void
  reject(error: Error): void
}
