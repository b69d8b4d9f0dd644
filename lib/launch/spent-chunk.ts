import { IncomingMessage, OutgoingMessage } from 'node:http'
import { Socket } from 'node:net'

/** Bytes: smaller ones are cheaper to collect than to give back. */
const LEAST = 4 * 1024
// Node 20 has none.
const canTransfer = 'transfer' in ArrayBuffer.prototype
const { write, end } = OutgoingMessage.prototype
// Who observes bodies may have put functions of their own there before this module was loaded.
const areNodes = [write, end].every(method => /\bwrite_\(this, chunk/.test(String(method)))
/** By what a request hands its pieces out, where somebody has put it on that one request. */
const HANDS_OUT = ['on', 'addListener', 'prependListener', 'once', 'emit', 'push', 'read', 'unshift']

/**
 * What to tell the memory of a piece of a body to once it was written: to be free at once. Left to the garbage
 * collector, 64 KiB at a time, bodies keep V8 at full collections for more than half of the router's time.
 *
 * For pieces that nobody else holds: they are empty afterwards. With an error the system may still read them.
 */
export function giveBack(chunk: Uint8Array | string): ((error?: Error | null) => void) | undefined {
  if (!canTransfer || typeof chunk === 'string') return undefined
  const { buffer } = chunk
  if (chunk.length < LEAST || chunk.length !== buffer.byteLength) return undefined
  return error => {
    if (!error) (buffer as ArrayBuffer & { transfer(length: number): void }).transfer(0)
  }
}

/** Whether the pieces of this request's body come from Node's parser, and nobody has asked for them. */
export function isFresh(req: IncomingMessage): boolean {
  const isParsed =
    req.httpVersionMajor < 2 &&
    req instanceof IncomingMessage &&
    req.socket instanceof Socket &&
    req.socket.bytesRead > 0
  return (
    isParsed &&
    !req.readableDidRead &&
    req.readableEncoding === null &&
    !isHeard(req, 0) &&
    !HANDS_OUT.some(name => Object.hasOwn(req, name))
  )
}

/** Whether more than so many listen to the pieces. */
export function isHeard(message: IncomingMessage, listeners: number): boolean {
  return message.listenerCount('data') > listeners || message.listenerCount('readable') > 0
}

/** Whether what this message is given goes to its connection, and nowhere else. */
export function isPlain(message: OutgoingMessage): boolean {
  return areNodes && message.write === write && message.end === end && message.socket instanceof Socket
}
