import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { hasBody } from '../launch/has-body.ts'
import { LEFT } from './private-headers.ts'

/** How long an app may rest while it reads on, in milliseconds: as long as Node's own server lets it. */
const MOST_REST = 5000

interface Answer extends ServerResponse {
  _storeHeader: (firstLine: string, headers: unknown) => void
  /** Whether Node closes the connection after it. */
  _last: boolean
  _hasBody: boolean
  _contentLength: number | null
}

/**
 * Tells the router where an answer begins before all of its request's body is there: the app may read on slowly, or have
 * begun to read and never go on, and the next request on the connection, which is somebody else's, would wait for that.
 */
export function tellLeftBody(req: IncomingMessage, res: ServerResponse): void {
  if (!hasBody(req)) return
  Object.assign(res, { _storeHeader })
  res.once('finish', () => {
    if (!req.complete) endAtRest(req.socket)
  })
}

// By which Node begins an answer, however the app does; and what the app has set is not touched.
function _storeHeader(this: Answer, firstLine: string, headers: unknown): void {
  const isLeft = !this.req.complete
  const line = isLeft ? `${firstLine}${LEFT}: 1\r\n` : firstLine
  ;(ServerResponse.prototype as Answer)._storeHeader.call(this, line, headers)
  // The router sends still, if only that the body is over, and would find the connection closed before it has read the
  // answer. It closes it then.
  if (!endsByClose(this)) this._last = false
}

function endsByClose({ _hasBody, _contentLength, chunkedEncoding }: Answer): boolean {
  return _hasBody && !chunkedEncoding && typeof _contentLength !== 'number'
}

/** A connection on which nobody reads does not even say that the router has closed it. */
function endAtRest(socket: Socket): void {
  const timer = setTimeout(() => {
    // Else it is the client that rests.
    if (socket.isPaused()) socket.destroy()
  }, MOST_REST)
  socket.on('pause', () => timer.refresh())
  socket.on('close', () => clearTimeout(timer))
}
