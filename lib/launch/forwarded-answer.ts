import type { IncomingMessage, ServerResponse } from 'node:http'
import { cutAnswer } from '../cut-answer.ts'
import { addTrailers } from './forward-framing.ts'
import { mayHaveBody } from './forward-headers.ts'
import { MOST_WAITING } from './forwarded-body.ts'
import { PauseFlush } from './pause-flush.ts'
import { giveBack, isHeard, isPlain } from './spent-chunk.ts'

/** Bytes: Node writes head and body as one where the body is text, else as two; longer text costs more. */
const MOST_AT_ONCE = 4 * 1024

/** The exchange that an answer is part of. */
interface AnswerExchange {
  /** Whether nothing more is to be done. */
  readonly isOver: boolean
  /** All has been said, or nothing more can be. */
  end(): void
  /** Node, or a middleware around, does not take the answer. */
  refuse(cause: unknown): void
}

/** What an app answers on its way to the client, once its head is known and set. */
export class ForwardedAnswer {
  readonly #down: IncomingMessage
  readonly #res: ServerResponse
  readonly #exchange: AnswerExchange
  /** Whether nobody else has asked for the pieces. */
  readonly #isOurs: boolean
  /** Bytes that are yet to come; undefined where the app does not say. */
  #left: number | undefined
  #isDraining = false
  #pauseFlush: PauseFlush | undefined

  constructor(
    down: IncomingMessage,
    res: ServerResponse,
    length: number | undefined,
    exchange: AnswerExchange,
  ) {
    this.#down = down
    this.#res = res
    this.#exchange = exchange
    this.#isOurs = !isHeard(down, 0)
    this.#left = length
  }

  send(): void {
    const [res, down] = [this.#res, this.#down]
    down.on('data', this.#onData)
    down.on('end', this.#onEnd)
    down.on('close', this.#onClose)
    // The head goes out with the first chunk, or alone where that is not there yet: server-sent events wait for it.
    // What came in one read is told before the next tick.
    if (mayHaveBody(res.req, res.statusCode)) process.nextTick(this.#sendHead)
  }

  // Not by flushHeaders(), which would write bytes beyond ASCII as UTF-8.
  readonly #sendHead = (): void => {
    if (!this.#res.headersSent && !this.#exchange.isOver) this.#try(() => this.#res.write('', 'latin1'))
  }

  /** Node, or a middleware around, may throw at the first byte; here nobody else would catch it. */
  #try(write: () => void): void {
    try {
      write()
    } catch (cause) {
      this.#exchange.refuse(cause)
    }
  }

  readonly #onData = (chunk: Buffer): void => this.#try(() => this.#pass(chunk))

  #pass(chunk: Buffer): void {
    const res = this.#res
    const spent = giveBack(chunk)
    const isNodes = isPlain(res)
    const isOurs = spent && this.#isOurs && !isHeard(this.#down, 1) && isNodes
    const written = isOurs ? spent : undefined
    // It waits for an answer before it, and Node puts a head whose body is bytes before hints that wait already.
    if (!res.headersSent && (!res.socket || hasForeignName(res))) res.write('', 'latin1')
    if (this.#left !== undefined) this.#left -= chunk.length
    if (this.#left === 0) {
      // The last byte: nothing follows that would be worth waiting for.
      this.#exchange.end()
      if (isNodes && chunk.length < MOST_AT_ONCE) return void res.end(chunk.toString('latin1'), 'latin1')
      if (!written) return void res.end(chunk)
      // What end() calls is called, too, where the connection broke and the system may still read.
      res.write(chunk, written)
      res.end()
      return
    }
    const hasRoom = res.write(chunk, written as () => void)
    if (!isNodes) this.#flushInPauses()
    if (hasRoom || this.#isDraining) return
    // What a middleware has put before it, which compresses for one, does not wait there.
    if (isNodes && res.writableLength < MOST_WAITING) return
    this.#isDraining = true
    this.#down.pause()
    res.once('drain', () => {
      this.#isDraining = false
      this.#down.resume()
    })
  }

  #flushInPauses(): void {
    this.#pauseFlush ??= new PauseFlush(this.#res, () => !this.#exchange.isOver && !this.#isDraining)
    this.#pauseFlush.noteWrite()
  }

  readonly #onEnd = (): void => {
    const [res, down] = [this.#res, this.#down]
    if (!down.complete || this.#exchange.isOver) return
    this.#exchange.end()
    this.#try(() => {
      addTrailers(res, down)
      res.end()
    })
  }

  readonly #onClose = (): void => {
    if (this.#exchange.isOver) return
    // So that the client sees that something is missing.
    this.#exchange.end()
    cutAnswer(this.#res)
  }
}

/** Names a file beyond ASCII: Node, given head and body at once, reads that name, which is Latin-1, as UTF-8. */
function hasForeignName(res: ServerResponse): boolean {
  const disposition = res.getHeader('content-disposition')
  return disposition !== undefined && /[^\0-\x7f]/.test(String(disposition))
}
