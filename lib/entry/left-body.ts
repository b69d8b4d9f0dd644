import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { hasBody } from '../launch/has-body.ts'
import { LEFT } from './private-headers.ts'

/** How long an app that reads on may pause, in milliseconds: as long as Node's own server allows. */
const MOST_REST = 5000

interface Answer extends ServerResponse {
  _storeHeader: (firstLine: string, headers: unknown) => void
  /** Whether Node closes the connection after it. */
  _last: boolean
  _hasBody: boolean
  _contentLength: number | null
}

/**
 * Tells the router if an answer begins before all of its request's body is there. The app may read on slowly, or may
 * have begun to read and never go on. The next request on the connection, which is somebody else's, would wait for
 * that.
 */
export function tellLeftBody(req: IncomingMessage, res: ServerResponse): void {
  if (!hasBody(req)) return
  Object.assign(res, { _storeHeader })
  res.once('finish', () => {
    if (!req.complete) endAtRest(req.socket)
  })
}

// Node calls this at the beginning of every answer, however the app begins it. What the app has set stays untouched.
function _storeHeader(this: Answer, firstLine: string, headers: unknown): void {
  const isLeft = !this.req.complete
  const line = isLeft ? `${firstLine}${LEFT}: 1\r\n` : firstLine
  ;(ServerResponse.prototype as Answer)._storeHeader.call(this, line, headers)
  // The router is still sending, if only the end of the body, and would find the connection closed before it has read
  // the answer. It closes the connection itself after that.
  if (!endsByClose(this)) this._last = false
}

function endsByClose({ _hasBody, _contentLength, chunkedEncoding }: Answer): boolean {
  return _hasBody && !chunkedEncoding && typeof _contentLength !== 'number'
}

/** A connection that nobody reads does not even emit that the router has closed it. */
function endAtRest(socket: Socket): void {
  const timer = setTimeout(() => {
    // Otherwise the client is the one that pauses.
    if (socket.isPaused()) socket.destroy()
  }, MOST_REST)
  socket.on('pause', () => timer.refresh())
  socket.on('close', () => clearTimeout(timer))
}
