import type { IncomingMessage, ServerResponse } from 'node:http'
import { cutAnswer } from '../answers/cut-answer.ts'
import { addTrailers } from './forward-framing.ts'
import { mayHaveBody } from './forward-headers.ts'
import { MOST_WAITING } from './forwarded-body.ts'
import { PauseFlush } from './pause-flush.ts'
import { giveBack, isHeard, isPlain } from './spent-chunk.ts'

/** In bytes. Node writes head and body together if the body is text, else separately; longer text costs more. */
const MOST_AT_ONCE = 4 * 1024

/** The exchange that an answer is part of. */
interface AnswerExchange {
  /** Whether nothing remains to be done. */
  readonly isOver: boolean
  /** The answer is complete, or nothing more of it can be sent. */
  end(): void
  /** Node, or a middleware around the router, rejects the answer. */
  refuse(cause: unknown): void
}

/** An app's answer on its way to the client, once its head is known and set. */
export class ForwardedAnswer {
  readonly #down: IncomingMessage
  readonly #res: ServerResponse
  readonly #exchange: AnswerExchange
  /** Whether nobody but the router listens for the chunks. */
  readonly #isOurs: boolean
  /** Bytes still to come; undefined if the app does not say. */
  #left: number | undefined
  #isDraining = false
  /** Whether one listens to `drain`. Under compression, listeners that were added by `once()` would pile up. */
  #hasPaused = false
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
    // The head goes out with the first chunk, or alone if no chunk has come yet: clients of server-sent events wait for
    // it. Chunks that came in the same read as the head are emitted before the next tick.
    if (mayHaveBody(res.req, res.statusCode)) process.nextTick(this.#sendHead)
  }

  // Not by flushHeaders(), which would write bytes beyond ASCII as UTF-8.
  readonly #sendHead = (): void => {
    if (!this.#res.headersSent && !this.#exchange.isOver) this.#try(() => this.#res.write('', 'latin1'))
  }

  /** Node, or a middleware around the router, may throw at the first byte; here nobody else would catch it. */
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
    if (!res.headersSent && hasForeignName(res)) res.write('', 'latin1')
    if (this.#left !== undefined) this.#left -= chunk.length
    if (this.#left === 0) {
      // This is the last chunk: nothing follows that would be worth waiting for.
      this.#exchange.end()
      if (isNodes && chunk.length < MOST_AT_ONCE) return void res.end(chunk.toString('latin1'), 'latin1')
      if (!written) return void res.end(chunk)
      // The callback of `end()` is called even if the connection broke and the system may still read the chunk.
      res.write(chunk, written)
      res.end()
      return
    }
    const hasRoom = res.write(chunk, written as () => void)
    if (!isNodes) this.#flushInPauses()
    if (hasRoom) return
    // What waits in a middleware around, such as compression, does not count in `writableLength`.
    if (isNodes && res.writableLength < MOST_WAITING) return
    this.#isDraining = true
    this.#down.pause()
    if (!this.#hasPaused) res.on('drain', () => this.#goOn())
    this.#hasPaused = true
  }

  #goOn(): void {
    this.#isDraining = false
    this.#down.resume()
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
    // The client must see that something is missing.
    this.#exchange.end()
    cutAnswer(this.#res)
  }
}

/**
 * Whether the answer names a file beyond ASCII: given head and body at once, Node takes that name, which is Latin-1,
 * for UTF-8.
 */
function hasForeignName(res: ServerResponse): boolean {
  const disposition = res.getHeader('content-disposition')
  return disposition !== undefined && /[^\0-\x7f]/.test(String(disposition))
}
