import type { IncomingMessage, ServerResponse } from 'node:http'
import { reloadAnswer } from '../answers/reload-answer.ts'
import { errorParts, toPlain } from '../values/plain.ts'
import type { VhostRouter } from '../vhost-router.ts'
import { EVENTS, LINES } from './event-line.ts'

/** Bytes of events that may wait for a reader, who may be suspended; with more, the reader is cut off. */
const MAX_WAITING = 2 ** 20

/**
 * Answers the other commands: `GET /status`, `GET /why?host=`, `POST /reload?host=`, `GET /events` (one JSON object per
 * line).
 */
export class ControlAnswers {
  readonly #vhosts: VhostRouter
  readonly #streams = new Set<ServerResponse>()
  readonly #listeners = EVENTS.map(event => [event, (about: object) => this.#tell(event, about)] as const)

  constructor(vhosts: VhostRouter) {
    this.#vhosts = vhosts
  }

  async answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      const url = new URL(req.url ?? '/', 'http://control')
      const host = url.searchParams.get('host') ?? ''
      const verb = `${req.method} ${url.pathname}`
      if (verb === 'GET /status') send(res, 200, this.#vhosts.stats())
      else if (verb === 'GET /why') send(res, 200, await this.#vhosts.why(host))
      else if (verb === 'POST /reload') send(res, ...(await reloadAnswer(this.#vhosts, host)))
      else if (verb === 'GET /events') this.#stream(res)
      else send(res, 404, { message: 'no such verb' })
    } catch (error) {
      send(res, 500, errorParts(error))
    }
  }

  /** Ends the answers that would go on as long as the router lives. */
  endStreams(): void {
    for (const res of this.#streams) res.end()
  }

  #stream(res: ServerResponse): void {
    // However many readers there are, each event has one listener: with more than ten, Node would warn of a leak.
    if (this.#streams.size === 0) for (const [event, tell] of this.#listeners) this.#vhosts.on(event, tell)
    this.#streams.add(res)
    res.writeHead(200, { 'Content-Type': LINES }).flushHeaders()
    res.once('close', () => {
      this.#streams.delete(res)
      if (this.#streams.size > 0) return
      for (const [event, tell] of this.#listeners) this.#vhosts.off(event, tell)
    })
  }

  #tell(event: string, about: object): void {
    const line = `${JSON.stringify({ time: new Date().toISOString(), event, ...about }, toPlain)}\n`
    for (const res of this.#streams) {
      res.write(line)
      if (res.writableLength > MAX_WAITING) res.destroy()
    }
  }
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body, toPlain))
}
