import { IncomingMessage, OutgoingMessage } from 'node:http'
import { Socket } from 'node:net'

/** In bytes: smaller chunks are cheaper to collect than to give back. */
const LEAST = 4 * 1024
// Node 20 lacks it.
const canTransfer = 'transfer' in ArrayBuffer.prototype
const { write, end } = OutgoingMessage.prototype
// Code that observes bodies may have replaced them before this module was loaded.
const areNodes = [write, end].every(method => /\bwrite_\(this, chunk/.test(String(method)))
/** The methods by which a request hands out its chunks, which somebody may have replaced on that one request. */
const HANDS_OUT = ['on', 'addListener', 'prependListener', 'once', 'emit', 'push', 'read', 'unshift']

/**
 * What to call once a chunk of a body has been written, to free its memory at once. Left to the garbage collector,
 * bodies in chunks of 64 KiB keep V8 at full collections for more than half of the router's time.
 *
 * Only for chunks that nobody else holds: they are empty afterwards. After an error the memory stays, as the system may
 * still read it.
 */
export function giveBack(chunk: Uint8Array | string): ((error?: Error | null) => void) | undefined {
  if (!canTransfer || typeof chunk === 'string') return undefined
  const { buffer } = chunk
  if (chunk.length < LEAST || chunk.length !== buffer.byteLength) return undefined
  return error => {
    if (!error) (buffer as ArrayBuffer & { transfer(length: number): void }).transfer(0)
  }
}

/** Whether this request's body comes straight from Node's parser, and nobody has asked for its chunks. */
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

/** Whether more than this many listeners get the chunks. */
export function isHeard(message: IncomingMessage, listeners: number): boolean {
  return message.listenerCount('data') > listeners || message.listenerCount('readable') > 0
}

/** Whether what is written to this message goes to its connection, and nowhere else. */
export function isPlain(message: OutgoingMessage): boolean {
  return areNodes && message.write === write && message.end === end && message.socket instanceof Socket
}
