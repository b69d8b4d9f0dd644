import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Handler } from '../handler.ts'
import type { Next } from '../launch/launch.ts'
import { passRejection } from '../rejection.ts'
import { applyClient, passOn } from './private-headers.ts'

/** Has a handler answer what arrives at the private server, as if the client had come to it itself. */
export function answerRequests(front: Server, { handle, upgrade }: Handler): void {
  front.on('request', (req, res) => {
    applyClient(req)
    const next = nextOf(res)
    try {
      passRejection(handle(req, res, next), next)
    } catch (error) {
      next(error)
    }
  })
  if (!upgrade) return
  front.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    applyClient(req)
    // An app's listener that throws ends this one connection, as in the router's own process.
    void Promise.resolve()
      .then(() => upgrade(req, socket, head))
      .catch(() => socket.destroy())
  })
}

/** What the app leaves to whoever comes next goes back to the router, where the next middleware is. */
function nextOf(res: ServerResponse): Next {
  return error => passOn(res, error)
}
