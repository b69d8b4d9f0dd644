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
    this.#streams.add(res)
    res.writeHead(200, { 'Content-Type': LINES }).flushHeaders()
    const listeners = EVENTS.map(event => {
      const tell = (about: object): void => {
        res.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...about }, toPlain)}\n`)
        if (res.writableLength > MAX_WAITING) res.destroy()
      }
      this.#vhosts.on(event, tell)
      return () => this.#vhosts.off(event, tell)
    })
    res.once('close', () => {
      this.#streams.delete(res)
      for (const stop of listeners) stop()
    })
  }
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body, toPlain))
}
