import http, { Agent, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

/** Clients that ask one host without a pause. The answers are release numbers, which only grow. */
export class ReleaseClients {
  requests = 0
  /**
   * Requests without an answer, or without a 200, or answered by a release older than one that had answered before the
   * request was sent.
   */
  failed = 0
  /** Why the first of them failed. */
  failure: string | undefined
  #newest = -1
  #isStopped = false
  readonly #agent: Agent
  readonly #running: Promise<unknown>
  #seen: { release: number; resolve: () => void } | undefined

  constructor(port: number, host: string, clients: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: clients })
    this.#running = Promise.all(Array.from({ length: clients }, () => this.#ask(port, host)))
  }

  /** Whether a release answers within this many milliseconds. */
  async sees(release: number, limit: number): Promise<boolean> {
    if (this.#newest >= release) return true
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<boolean>(resolve => {
      timer = setTimeout(resolve, limit, false)
    })
    const seen = new Promise<boolean>(resolve => {
      this.#seen = { release, resolve: () => resolve(true) }
    })
    return await Promise.race([seen, tooLong]).finally(() => clearTimeout(timer))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
    this.#agent.destroy()
  }

  async #ask(port: number, host: string): Promise<void> {
    while (!this.#isStopped) {
      const before = this.#newest
      try {
        const release = await this.#answer(port, host)
        if (release < before) throw new Error(`release ${release} answered after release ${before}`)
        this.#note(release)
      } catch (error) {
        this.failed++
        this.failure ??= String(error)
      }
      this.requests++
    }
  }

  async #answer(port: number, host: string): Promise<number> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { port, host: '127.0.0.1', agent: this.#agent, headers: { host } }
      http.get(options, resolve).on('error', reject)
    })
    const body = await text(response)
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${body.slice(0, 100)}`)
    return Number(body)
  }

  #note(release: number): void {
    this.#newest = Math.max(this.#newest, release)
    if (this.#seen && this.#newest >= this.#seen.release) this.#seen.resolve()
  }
}
