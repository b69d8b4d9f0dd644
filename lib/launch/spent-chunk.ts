import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'

/** Smaller ones are cheaper to collect than to give back. */
const LEAST = 4 * 1024
// Node 20 has none.
const canTransfer = 'transfer' in ArrayBuffer.prototype
const { write, end } = ServerResponse.prototype

/**
 * What to tell the memory of a piece of a body to once it was written: to be free at once. Left to the garbage
 * collector, 64 KiB at a time, bodies keep V8 at full collections for more than half of the router's time.
 *
 * For pieces that nobody else holds: they are empty afterwards. With an error the system may still read them.
 */
export function giveBack(chunk: Buffer): ((error?: Error | null) => void) | undefined {
  const { buffer } = chunk
  if (!canTransfer || chunk.length < LEAST || chunk.length !== buffer.byteLength) return undefined
  return error => {
    if (!error) (buffer as ArrayBuffer & { transfer(length: number): void }).transfer(0)
  }
}

/** Whether the pieces of this request's body come from Node's parser, and nobody has read from it. */
export function isFresh(req: IncomingMessage): boolean {
  return (
    req.httpVersionMajor < 2 &&
    req instanceof IncomingMessage &&
    req.socket instanceof Socket &&
    !req.readableDidRead
  )
}

/** Whether nobody but one listener sees the pieces. */
export function hasOneReader(req: IncomingMessage): boolean {
  return req.listenerCount('data') === 1 && req.listenerCount('readable') === 0
}

/** Whether what this response is given goes to its connection, and nowhere else. */
export function isPlain(res: ServerResponse): boolean {
  return res.write === write && res.end === end && res.socket instanceof Socket
}
