import { AsyncResource } from 'node:async_hooks'
import {
  type ClientRequest,
  type IncomingMessage,
  type InformationEvent,
  type ServerResponse,
  request as sendRequest,
} from 'node:http'
import { cutAnswer } from '../answers/cut-answer.ts'
import { isUnread, passedOn } from '../entry/private-headers.ts'
import { VhostError, type VhostErrorCode, type VhostErrorOptions, withoutFrames } from '../errors.ts'
import { debug } from '../events.ts'
import type { RoutedRequest } from '../vhost-info.ts'
import { AnswerTimeout } from './answer-timeout.ts'
import { goneOf, isClientGone } from './client-gone.ts'
import type { ConnectionPool } from './connection-pool.ts'
import { framed } from './forward-framing.ts'
import {
  checkHead,
  MAX_ANSWER_HEADERS,
  MOST_FIELDS,
  readHead,
  requestHeaders,
  setHeaders,
} from './forward-headers.ts'
import type { ForwardOptions } from './forward-options.ts'
import { ForwardedAnswer } from './forwarded-answer.ts'
import { ForwardedBody, lostBody, readBody } from './forwarded-body.ts'
import { hasBody } from './has-body.ts'
import { InterimAnswers, passInterim } from './interim-answers.ts'
import type { Next } from './launch.ts'
import { mayRetry } from './may-retry.ts'

/**
 * How many characters of interim answers go on for one request: they wait for the client, and nothing holds the app
 * back.
 */
const MOST_HINTS = 64 * 1024

/**
 * One request on its way to the app, and the answer on its way back. A pooled connection emits its events in the
 * asynchronous context of the request that opened it, hence the `AsyncResource`.
 */
export class Exchange extends AsyncResource {
  /** Whether nothing remains to be done. */
  isOver = false
  readonly #options: ForwardOptions
  readonly #pool: ConnectionPool
  readonly #req: RoutedRequest
  readonly #res: ServerResponse
  readonly #next: Next
  readonly #hasBody: boolean
  readonly #gone: Set<() => void> | undefined
  #up!: ClientRequest
  #body: ForwardedBody | undefined
  #down: IncomingMessage | undefined
  #timeout: AnswerTimeout | undefined
  #interim: InterimAnswers | undefined
  /** Characters of interim answers so far. */
  #hinted = 0

  constructor(
    options: ForwardOptions,
    pool: ConnectionPool,
    req: IncomingMessage,
    res: ServerResponse,
    next: Next,
  ) {
    super('express-van.Exchange')
    this.#options = options
    this.#pool = pool
    this.#req = req
    this.#res = res
    this.#next = next
    this.#hasBody = hasBody(req)
    this.#gone = goneOf(req)
  }

  begin(): void {
    const { trusts, requestTimeout } = this.#options
    if (this.#hasBody && this.#req.readableEnded) {
      this.end()
      this.#next(readBody())
      return
    }
    try {
      this.#up = sendRequest({
        agent: this.#pool,
        method: this.#req.method,
        path: this.#req.url,
        headers: framed(requestHeaders(this.#req, trusts), this.#req, this.#hasBody),
        maxHeaderSize: MAX_ANSWER_HEADERS,
      })
    } catch (error) {
      this.end()
      this.#next(withoutFrames(error as Error))
      return
    }
    const up = this.#up
    if (requestTimeout > 0) {
      this.#timeout = new AnswerTimeout(requestTimeout, this.#onTimeout)
      up.on('socket', this.#onSent)
    }
    // One more than an answer may have, so that an excess is noticed: Node drops further fields without a word.
    up.maxHeadersCount = MOST_FIELDS + 1
    up.on('response', this.#onResponse)
    up.on('information', this.#onInformation)
    up.on('error', this.#onError)
    up.on('close', this.#onUpClose)
    this.#res.on('close', this.#onClientGone)
    this.#gone?.add(this.#onClientGone)
    if (!this.#hasBody) {
      up.end()
      return
    }
    this.#body = new ForwardedBody(this.#req, up, this.#gone, this, this.#onSent, this.#onSpoiled)
    this.#body.send()
  }

  /** Lets go of everything: nothing remains to be done. */
  end(): void {
    this.isOver = true
    this.#body?.release()
    this.#timeout?.end()
    this.#gone?.delete(this.#onClientGone)
  }

  /**
   * The answer cannot go on. If it has begun, it is cut so that the client notices; otherwise `next()` gets an error.
   */
  refuse(cause: unknown): void {
    if (this.#res.headersSent) {
      this.end()
      this.#up.destroy()
      cutAnswer(this.#res)
    } else {
      this.#fail(this.#malformed({ cause }))
    }
  }

  readonly #onResponse = (down: IncomingMessage): void => {
    // The answer came in the same read as what ended the exchange.
    if (this.isOver) return
    this.#options.answered()
    this.#timeout?.end()
    this.#down = down
    const res = this.#res
    const head = readHead(down)
    // The app may read the rest of the body later or never, and it would read the next request only after that.
    if (head.isBodyLeft) this.#up.once('close', () => this.#up.socket?.destroy())
    let handedOn: unknown
    try {
      checkHead(down, head)
      if (head.next !== undefined) handedOn = passedOn(head.next)
      setHeaders(res, down.statusCode as number, head)
      res.statusCode = down.statusCode as number
      // The next handler may have another status.
      const isOurs = head.next === undefined
      if (isOurs && this.#req.httpVersionMajor < 2 && down.statusMessage)
        res.statusMessage = down.statusMessage
    } catch (cause) {
      down.destroy()
      this.#fail(this.#malformed({ cause }))
      return
    }
    if (head.next !== undefined) {
      const isLost = isUnread(head.next) && this.#body && !this.#body.putBack()
      this.end()
      // An app that sets this header itself may add a body without end.
      if (head.length === 0) down.resume()
      else this.#up.destroy()
      this.#next(isLost ? lostBody() : handedOn)
      return
    }
    this.#body?.release()
    new ForwardedAnswer(down, res, head.length, this).send()
  }

  readonly #onInformation = ({ statusCode, rawHeaders }: InformationEvent): void => {
    if (this.isOver) return
    this.#interim ??= new InterimAnswers()
    const cause = this.#interim.note()
    if (cause) {
      this.#fail(this.#malformed({ cause }))
      return
    }
    // An HTTP/1.0 client would take it for the answer (RFC 9110 §15.2).
    if (this.#req.httpVersion === '1.0') return
    for (const { length } of rawHeaders) this.#hinted += length
    if (this.#hinted > MOST_HINTS) return
    try {
      passInterim(this.#res, statusCode, rawHeaders)
    } catch (error) {
      debug('forward: %s', (error as Error).message)
    }
  }

  readonly #onError = (error: NodeJS.ErrnoException & { rawPacket?: Buffer }): void => {
    // The packet lies in the buffer into which the next answer of any app will be read.
    if (error.rawPacket) error.rawPacket = Buffer.from(error.rawPacket)
    if (this.isOver) return
    if (this.#down) {
      debug('forward: %s', error.message)
      return
    }
    const { retry, broken } = this.#options
    broken(error)
    // At the end of `drainTimeout` the router ends both sides.
    if (isClientGone(this.#req, this.#res)) {
      this.end()
      return
    }
    const isAskable = !this.#hasBody && mayRetry(error, this.#req)
    this.end()
    this.runInAsyncScope(() => {
      if (isAskable && retry(this.#req, this.#res, this.#next, error)) return
      this.#next(this.#error('ERR_VHOST_CRASHED', { cause: error }))
    })
  }

  // A protocol switch that nobody has asked for ends the connection and emits nothing else.
  readonly #onUpClose = (): void => {
    if (this.isOver || this.#down) return
    this.runInAsyncScope(() => this.#fail(this.#malformed()))
  }

  readonly #onSent = (): void => this.#timeout?.restart()

  /** Middleware before the router has read a part of the body, or has it decoded. */
  readonly #onSpoiled = (): void => {
    if (this.isOver) this.#up.destroy()
    else if (this.#down) this.refuse(readBody())
    else this.runInAsyncScope(() => this.#fail(readBody()))
  }

  readonly #onTimeout = (): void => this.#fail(this.#error('ERR_VHOST_REQUEST_TIMEOUT'))

  readonly #onClientGone = (): void => {
    if (this.isOver) return
    this.end()
    this.#up.destroy()
  }

  #malformed(options: VhostErrorOptions = {}): VhostError {
    return this.#error('ERR_VHOST_CRASHED', { detail: 'its answer is malformed', ...options })
  }

  #error(code: VhostErrorCode, options: VhostErrorOptions = {}): VhostError {
    return new VhostError(code, { hostname: this.#req.vhost?.hostname, ...options })
  }

  #fail(error: Error): void {
    this.end()
    this.#up.destroy()
    this.#next(error)
  }
}
