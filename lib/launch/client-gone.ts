import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'

/**
 * Whether the client has gone already, or has been answered. With HTTP/2 the socket is a stand-in and the response does
 * not say, but its stream does.
 */
export function isClientGone(
  req: IncomingMessage,
  res: ServerResponse & { stream?: ServerHttp2Stream },
): boolean {
  return res.destroyed || (req.httpVersionMajor < 2 ? req.socket.destroyed : res.stream?.destroyed === true)
}

const GONE = Symbol('gone')
type GoneSocket = Socket & { [GONE]?: Set<() => void> }

/**
 * The callbacks to run when the socket of a request closes: on Node 20 and 22, queued responses never emit that.
 * Undefined with HTTP/2, where responses do.
 */
export function goneOf(req: IncomingMessage): Set<() => void> | undefined {
  if (req.httpVersionMajor >= 2) return undefined
  const socket: GoneSocket = req.socket
  const known = socket[GONE]
  if (known) return known
  const gone = new Set<() => void>()
  socket[GONE] = gone
  socket.once('close', () => {
    for (const tell of gone) tell()
  })
  return gone
}
