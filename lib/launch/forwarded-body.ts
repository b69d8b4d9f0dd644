import type { AsyncResource } from 'node:async_hooks'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { withoutFrames } from '../errors.ts'
import { endBody } from './forward-framing.ts'
import { giveBack, isFresh, isHeard, isPlain } from './spent-chunk.ts'

/**
 * How many bytes of a body may wait to be written before reading pauses. This is several times what one read brings;
 * with less, one side would stand still while the other works.
 */
export const MOST_WAITING: number = 128 * 1024
/** How many bytes of a body are kept until its answer begins: the app may leave the body unread to the next handler. */
const MOST_KEPT = 64 * 1024

/**
 * The body of a request on its way to an app, until it ends or either side goes away. It goes on beyond the answer: the
 * app may still read, and both share one connection.
 */
export class ForwardedBody {
  readonly #req: IncomingMessage
  readonly #up: ClientRequest
  /** What to call when the client's connection closes; undefined if the request itself says so. */
  readonly #gone: Set<() => void> | undefined
  readonly #context: AsyncResource
  /** Called for each chunk. */
  readonly #arrived: () => void
  /** Called if the body is not as long as its head says. */
  readonly #spoiled: () => void
  /** Bytes still to come; infinite if the head does not say. */
  #left: number
  #isOurs: boolean
  /** The chunks so far; undefined once nothing can be put back. */
  #kept: Buffer[] | undefined
  #size = 0
  /** Bytes that were there before anybody listened: whoever put them there may still hold their memory. */
  #foreign = 0
  #isBegun = false
  #isSent = false

  constructor(
    req: IncomingMessage,
    up: ClientRequest,
    gone: Set<() => void> | undefined,
    context: AsyncResource,
    arrived: () => void,
    spoiled: () => void,
  ) {
    this.#req = req
    this.#up = up
    this.#gone = gone
    this.#context = context
    this.#arrived = arrived
    this.#spoiled = spoiled
    this.#left = statedLength(req)
    this.#isOurs = isFresh(req)
    // With HTTP/2, nothing says before `end` that a body is complete. A body that others have read from would be read
    // twice.
    if (this.#isOurs) this.#kept = []
  }

  send(): void {
    if (this.#kept) this.#listen()
    else this.#flow()
    this.#req.on('close', this.#giveUp)
    this.#gone?.add(this.#giveUp)
    this.#up.on('close', this.#onUpClose)
    // The app may answer the head alone.
    process.nextTick(() => {
      if (!this.#isBegun && !this.#isSent && !this.#up.destroyed) this.#up.write('', 'latin1')
    })
  }

  /** Stops keeping the body: nobody else will ask for it. */
  release(): void {
    if (!this.#kept) return
    this.#kept = undefined
    this.#req.off('readable', this.#onReadable)
    this.#flow()
  }

  /** Restores the request as it came, for the next handler. Returns whether that was still possible. */
  putBack(): boolean {
    const kept = this.#kept
    if (!kept) return false
    this.#kept = undefined
    this.#req.off('readable', this.#onReadable).off('close', this.#giveUp)
    this.#gone?.delete(this.#giveUp)
    this.#up.off('close', this.#onUpClose)
    if (!this.#isSent) this.#up.destroy()
    // Neither flowing nor paused, as if nobody had listened or read: otherwise Node would not take the rest off the
    // connection after an answer that leaves it unread, and the next request there would wait behind it.
    Object.assign(this.#req, { readableFlowing: null, _consuming: false })
    if (kept.length > 0) this.#req.unshift(Buffer.concat(kept))
    return true
  }

  #listen(): void {
    if (this.#req.complete && this.#req.readableLength === 0) {
      this.#onEnd()
      return
    }
    // Otherwise Node does it at the next tick, when a body without chunks may already be over.
    this.#req.read(0)
    this.#req.on('readable', this.#onReadable)
  }

  // Reads only pieces of known length: a read beyond them would make the stream emit `end`, and then nothing can be put
  // back.
  readonly #onReadable = (): void => {
    const { readableLength } = this.#req
    const chunk = readableLength > 0 ? (this.#req.read(readableLength) as Buffer | null) : null
    if (chunk) this.#write(chunk)
    this.#size += chunk?.length ?? 0
    if (this.#size > MOST_KEPT) this.release()
    else if (chunk) this.#kept?.push(chunk)
    if (this.#kept && this.#req.complete && this.#req.readableLength === 0) this.#onEnd()
  }

  #flow(): void {
    this.#foreign = this.#req.readableLength
    this.#req.on('newListener', this.#onNewListener)
    this.#req.on('data', this.#onData)
    this.#req.on('end', this.#onEnd)
    this.#resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    const isOurs = this.#isOurs && this.#foreign <= 0 && !isHeard(this.#req, 1) && isPlain(this.#up)
    this.#foreign -= chunk.length
    if (this.#write(chunk, isOurs ? giveBack(chunk) : undefined) || this.#up.writableLength < MOST_WAITING)
      return
    this.#req.pause()
    // After the answer, Node emits `drain` on the socket alone.
    ;(this.#up.socket ?? this.#up).once('drain', this.#resume)
  }

  // A listener that was added with `once()` before ours is gone again when the chunk comes here.
  readonly #onNewListener = (event: string | symbol, listener: unknown): void => {
    if ((event === 'data' || event === 'readable') && listener !== this.#onData) this.#isOurs = false
  }

  /** Returns whether there is room for more. */
  #write(chunk: Buffer, written?: ReturnType<typeof giveBack>): boolean {
    this.#isBegun = true
    this.#arrived()
    if (this.#up.destroyed) return true
    // The chunk is text if a middleware has asked for that.
    const encoding = this.#req.readableEncoding ?? 'binary'
    this.#left -= Buffer.byteLength(chunk, encoding)
    if (this.#left >= 0) return this.#up.write(chunk, encoding, written)
    // Bytes that are not valid text grow when they are decoded, and the excess would be read as another request.
    this.#spoiled()
    return true
  }

  readonly #onEnd = (): void => {
    if (this.#isSent) return
    this.#isSent = true
    // A part was read before the router, and the app would wait for it.
    if (this.#left > 0 && this.#left !== Number.POSITIVE_INFINITY && this.#req.complete) this.#spoiled()
    else endBody(this.#up, this.#req)
  }

  // Once it is answered, a request does not emit that its client is gone. With HTTP/2, `complete` is true however the
  // body ended.
  readonly #giveUp = (): void => {
    if (!this.#isSent && !(this.#gone && this.#req.complete)) this.#up.destroy()
  }

  readonly #onUpClose = (): void => {
    this.#gone?.delete(this.#giveUp)
    this.release()
    this.#resume()
  }

  // In the context of its own request: a pooled connection emits `drain` in that of the request that opened it.
  readonly #resume = (): void => void this.#context.runInAsyncScope(this.#req.resume, this.#req)
}

/** Bytes of the body; infinite if the head does not say. */
function statedLength({ headers }: IncomingMessage): number {
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  return length === undefined || coding !== undefined ? Number.POSITIVE_INFINITY : Number(length)
}

/** In process, the app would have found what the reader had made of the body. */
export function readBody(): Error {
  return withoutFrames(
    new Error(
      'the body of a request was read before it came to the router, so the isolated app cannot have it',
    ),
  )
}

/** In process, the app would have left the body to the next handler. */
export function lostBody(): Error {
  const most = MOST_KEPT / 1024
  return withoutFrames(
    new Error(
      `an isolated app called next() and left the body unread, of which at most ${most} KiB is kept, and nothing with HTTP/2`,
    ),
  )
}
