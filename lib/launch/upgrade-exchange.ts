import { type ClientRequest, type IncomingMessage, STATUS_CODES, request as sendRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import { NEXT, passedOn } from '../entry/private-headers.ts'
import { VhostError } from '../errors.ts'
import { debug } from '../events.ts'
import type { RoutedRequest } from '../vhost-info.ts'
import { AnswerTimeout } from './answer-timeout.ts'
import { MAX_ANSWER_HEADERS, requestHeaders } from './forward-headers.ts'
import type { ForwardOptions } from './forward-options.ts'
import { type FullQueue, isFull } from './full-queue.ts'
import { InterimAnswers } from './interim-answers.ts'
import { joinSockets } from './join-sockets.ts'
import { mayRetry } from './may-retry.ts'

/** Upgrades that wait for a connection to the app. */
export type UpgradeQueue = FullQueue<UpgradeExchange>

/** One upgrade on its way to the app; if the app agrees, the two connections are joined. */
export class UpgradeExchange {
  readonly #options: ForwardOptions
  readonly #queue: UpgradeQueue
  readonly #req: RoutedRequest
  readonly #socket: Duplex
  readonly #head: Buffer
  readonly #failed: (error: unknown) => void
  readonly #headers: string[]
  #up: ClientRequest | undefined
  #timeout: AnswerTimeout | undefined
  #hasAnswered = false
  #hasFailed = false

  /** `failed` is told why the app has not answered, and has to deal with the socket from then on. */
  constructor(
    options: ForwardOptions,
    queue: UpgradeQueue,
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    failed: (error: unknown) => void,
  ) {
    this.#options = options
    this.#queue = queue
    this.#req = req
    this.#socket = socket
    this.#head = head
    this.#failed = failed
    this.#headers = requestHeaders(req, options.trusts)
  }

  /** Whether nobody is left to ask for. */
  get isOver(): boolean {
    return this.#hasFailed || this.#socket.destroyed
  }

  begin(): void {
    const { requestTimeout } = this.#options
    this.#socket.on('error', error => debug('upgrade: %s', error.message))
    this.#socket.once('close', this.#onClientGone)
    this.#socket.on('readable', this.#onReadable).once('end', this.#onClientEnd)
    this.ask()
    if (requestTimeout > 0) this.#timeout = new AnswerTimeout(requestTimeout, this.#onTimeout)
  }

  /** Called again if the app had no room for a connection. */
  ask(): void {
    const { method, url, headers } = this.#req
    const up = sendRequest({
      socketPath: this.#options.socketPath,
      agent: false,
      method,
      path: url,
      headers: [...this.#headers, 'Connection', 'Upgrade', 'Upgrade', headers.upgrade ?? ''],
      maxHeaderSize: MAX_ANSWER_HEADERS,
      setHost: false,
    })
    this.#up = up
    up.once('socket', far => far.once('connect', this.#onConnect))
    up.on('error', this.#onError)
    const interim = new InterimAnswers()
    up.on('information', () => {
      const error = interim.note()
      if (error) up.destroy(error)
    })
    up.on('upgrade', this.#onUpgrade)
    up.on('response', this.#onRefusal)
    up.end()
  }

  readonly #onConnect = (): void => {
    this.#timeout?.restart()
    this.#queue.askAll()
  }

  readonly #onUpgrade = (down: IncomingMessage, far: Duplex, farHead: Buffer): void => {
    this.#answer(down)
    if (farHead.length > 0) this.#socket.write(farHead)
    if (this.#head.length > 0) far.write(this.#head)
    joinSockets(this.#socket, far)
  }

  /** The answer is the app's own, unless its listener threw. */
  readonly #onRefusal = (down: IncomingMessage): void => {
    const socket = this.#socket
    const told = down.headers[NEXT]
    if (typeof told === 'string') {
      down.resume()
      this.#end()
      this.#failed(thrownBy(told))
      return
    }
    this.#answer(down)
    down.on('error', () => socket.destroy())
    down.pipe(socket)
    // The client may leave its half open for ever.
    socket.once('finish', () => socket.destroy())
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    debug('upgrade: %s', error.message)
    if (this.#hasFailed) return
    if (isFull(error)) {
      this.#queue.wait(this)
      return
    }
    const { retry, broken } = this.#options
    broken(error)
    if (this.#hasAnswered || this.#socket.destroyed) this.#socket.destroy()
    else {
      this.#end()
      if (!mayRetry(error, this.#req) || !retry(this.#req, this.#socket, this.#failed, error)) {
        this.#failed(new VhostError('ERR_VHOST_CRASHED', { hostname: this.#hostname, cause: error }))
      }
    }
    this.#queue.askAll()
  }

  readonly #onTimeout = (): void => {
    if (this.isOver) return
    this.#end()
    this.#up?.destroy()
    this.#failed(new VhostError('ERR_VHOST_REQUEST_TIMEOUT', { hostname: this.#hostname }))
  }

  /** Nobody reads before the app has answered, and a stream that nobody reads does not emit its end. */
  readonly #onReadable = (): void => {
    if (this.#socket.readableLength === 0) this.#socket.read(0)
  }

  /** Before it is answered, a client has nothing to say: one that ends is gone. */
  readonly #onClientEnd = (): void => void this.#socket.destroy()

  #leave(): void {
    this.#socket.off('readable', this.#onReadable).off('end', this.#onClientEnd)
  }

  readonly #onClientGone = (): void => {
    this.#timeout?.end()
    // Undefined if its head could not be sent.
    this.#up?.destroy()
  }

  #answer(down: IncomingMessage): void {
    this.#hasAnswered = true
    this.#options.answered()
    this.#leave()
    this.#timeout?.end()
    this.#socket.write(headOf(down), 'latin1')
  }

  #end(): void {
    this.#hasFailed = true
    this.#leave()
    this.#timeout?.end()
  }

  get #hostname(): string | undefined {
    return this.#req.vhost?.hostname
  }
}

function thrownBy(told: string): unknown {
  try {
    return passedOn(told)
  } catch (error) {
    // An app can set any header.
    return error
  }
}

/** The head as the app wrote it. A body of unstated length ends with the connection. */
function headOf(down: IncomingMessage): string {
  const { statusCode = 502, statusMessage, rawHeaders } = down
  const isSwitch = statusCode === 101
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage || (STATUS_CODES[statusCode] ?? '')}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (!isSwitch && /^(?:connection|keep-alive|transfer-encoding)$/i.test(name)) continue
    lines.push(`${name}: ${rawHeaders[at + 1]}`)
  }
  if (!isSwitch) lines.push('Connection: close')
  return `${lines.join('\r\n')}\r\n\r\n`
}
