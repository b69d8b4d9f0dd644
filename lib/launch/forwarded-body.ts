import type { AsyncResource } from 'node:async_hooks'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { withoutFrames } from '../errors.ts'
import { endBody } from './forward-framing.ts'
import { giveBack, isFresh, isHeard, isPlain } from './spent-chunk.ts'

/**
 * Bytes of a body that wait to be written before no more are read: several times what one read brings, or one side
 * stands still while the other works.
 */
export const MOST_WAITING: number = 128 * 1024
/** Bytes of a body that are kept until its answer begins: the app may leave it unread to whoever comes next. */
const MOST_KEPT = 64 * 1024

/**
 * The body of a request on its way to an app, until it ends or either side goes away, also beyond the answer: the app
 * may read on, and its connection is one.
 */
export class ForwardedBody {
  readonly #req: IncomingMessage
  readonly #up: ClientRequest
  /** What to call where the client's connection closes; undefined where the request says so itself. */
  readonly #gone: Set<() => void> | undefined
  readonly #context: AsyncResource
  /** Is told of each piece. */
  readonly #arrived: () => void
  #isOurs: boolean
  /** Undefined once nothing can be put back. */
  #kept: Buffer[] | undefined
  #size = 0
  /** Bytes that were there before anybody listened: whoever put them there may hold them. */
  #foreign = 0
  #isBegun = false
  #isSent = false

  constructor(
    req: IncomingMessage,
    up: ClientRequest,
    gone: Set<() => void> | undefined,
    context: AsyncResource,
    arrived: () => void,
  ) {
    this.#req = req
    this.#up = up
    this.#gone = gone
    this.#context = context
    this.#arrived = arrived
    this.#isOurs = isFresh(req)
    // Of HTTP/2 nothing says, before `end`, that it is complete; whom others read from would be read twice.
    if (this.#isOurs) this.#kept = []
  }

  send(): void {
    if (this.#kept) this.#listen()
    else this.#flow()
    this.#req.on('close', this.#giveUp)
    this.#gone?.add(this.#giveUp)
    this.#up.on('close', this.#onUpClose)
    // The app may have an answer to what the head alone says.
    process.nextTick(() => {
      if (!this.#isBegun && !this.#isSent && !this.#up.destroyed) this.#up.write('', 'latin1')
    })
  }

  /** Nobody else will ask for the body. */
  release(): void {
    if (!this.#kept) return
    this.#kept = undefined
    this.#req.off('readable', this.#onReadable)
    this.#flow()
  }

  /** Has the request as it came, for whoever comes next; gives whether all of its body is there. */
  putBack(): boolean {
    const kept = this.#kept
    if (!kept) return false
    this.#kept = undefined
    this.#req.off('readable', this.#onReadable).off('close', this.#giveUp)
    this.#gone?.delete(this.#giveUp)
    this.#up.off('close', this.#onUpClose)
    if (!this.#isSent) this.#up.destroy()
    // Neither flowing nor paused, as where nobody has listened.
    Object.assign(this.#req, { readableFlowing: null })
    if (kept.length > 0) this.#req.unshift(Buffer.concat(kept))
    return true
  }

  #listen(): void {
    if (this.#req.complete && this.#req.readableLength === 0) {
      this.#onEnd()
      return
    }
    // Else Node does it at the next tick, by when a body of no chunks may be over.
    this.#req.read(0)
    this.#req.on('readable', this.#onReadable)
  }

  // By pieces whose length is known: to read beyond them would have the stream tell its end, and what has told its end
  // cannot be put back.
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
    // After the answer Node tells of it at the socket alone.
    ;(this.#up.socket ?? this.#up).once('drain', this.#resume)
  }

  // One that listens once, and before us, is gone again when the piece comes here.
  readonly #onNewListener = (event: string | symbol, listener: unknown): void => {
    if ((event === 'data' || event === 'readable') && listener !== this.#onData) this.#isOurs = false
  }

  /** Gives whether there is room for more. */
  #write(chunk: Buffer, written?: ReturnType<typeof giveBack>): boolean {
    this.#isBegun = true
    this.#arrived()
    // Text, where a middleware has asked for that.
    return this.#up.destroyed || this.#up.write(chunk, this.#req.readableEncoding ?? 'binary', written)
  }

  readonly #onEnd = (): void => {
    if (this.#isSent) return
    this.#isSent = true
    endBody(this.#up, this.#req)
  }

  // Once it is answered, a request does not say that its client is gone. With HTTP/2 it says `complete` of any end.
  readonly #giveUp = (): void => {
    if (!this.#isSent && !(this.#gone && this.#req.complete)) this.#up.destroy()
  }

  readonly #onUpClose = (): void => {
    this.#gone?.delete(this.#giveUp)
    this.release()
    this.#resume()
  }

  // In the context of its own request: a pooled connection tells of its drain in that of the one that opened it.
  readonly #resume = (): void => void this.#context.runInAsyncScope(this.#req.resume, this.#req)
}

/** In this process the app would have found what the reader had made of it. */
export function readBody(): Error {
  return withoutFrames(
    new Error('the body of a request was read before the router, so that the isolated app cannot have it'),
  )
}

/** In its own process the app would have left the body to whoever comes next. */
export function lostBody(): Error {
  const most = MOST_KEPT / 1024
  return withoutFrames(
    new Error(
      `an isolated app called next() and left a body unread of which no more than ${most} KiB is kept, and nothing of HTTP/2`,
    ),
  )
}
