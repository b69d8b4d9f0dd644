import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Handler, upgradeOf } from '../handler.ts'
import type { WebServer } from '../launch/caught-listen.ts'
import type { Next } from '../launch/launch.ts'
import { passRejection } from '../promises/rejection.ts'
import { refuseUpgrade } from '../upgrade/refuse-upgrade.ts'
import { tellLeftBody } from './left-body.ts'
import { applyClient, passOn, passOnUpgrade } from './private-headers.ts'
import { keepToLength } from './stated-length.ts'

/**
 * Makes a handler answer what arrives at the private server, as if the client had come to it directly. `listening`
 * returns the server on which the app listens at that time.
 */
export function answerRequests(
  front: Server,
  handler: Handler,
  listening: () => WebServer | undefined = () => undefined,
): void {
  const { handle } = handler
  front.on('request', (req, res) => {
    applyClient(req)
    keepToLength(res)
    tellLeftBody(req, res)
    const next = nextOf(res)
    try {
      passRejection(handle(req, res, next), next)
    } catch (error) {
      next(error)
    }
  })
  front.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    // As in the router's own process, a client that goes away must not end an app that does not listen for errors.
    socket.on('error', () => socket.destroy())
    const upgrade = upgradeOf(handler, listening())
    if (!upgrade) {
      // The app took upgrades when the router asked.
      refuseUpgrade(socket, 404)
      return
    }
    applyClient(req)
    // An app's listener that throws ends this one connection, as in the router's own process.
    void Promise.resolve()
      .then(() => upgrade(req, socket, head))
      .catch(error => passOnUpgrade(socket, error))
  })
}

/** Requests that the app leaves to the next middleware go back to the router, where that is. */
function nextOf(res: ServerResponse): Next {
  return error => passOn(res, error)
}
