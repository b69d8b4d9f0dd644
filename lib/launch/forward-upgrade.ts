import { type ClientRequest, type IncomingMessage, STATUS_CODES, request as sendRequest } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { VhostError } from '../errors.ts'
import { debug } from '../events.ts'
import type { RoutedRequest } from '../vhost-info.ts'
import { afterReading } from './after-reading.ts'
import { type ExchangeOptions, mayRetry } from './exchange.ts'
import { FullQueue, isFull } from './full-queue.ts'

/** How long who reads nothing keeps the other side's last words waiting, in milliseconds. */
const FLUSH_TIMEOUT = 30 * 1000

export interface UpgradeForwardOptions extends Pick<ExchangeOptions, 'requestTimeout' | 'retry' | 'broken'> {
  readonly socketPath: string
}

interface Waiting {
  readonly isOver: () => boolean
  readonly ask: () => void
}

/** Asks an app behind a private socket for upgrades, and joins the two connections where it agrees. */
export class UpgradeForward {
  readonly #options: UpgradeForwardOptions
  readonly #waiting = new FullQueue<Waiting>(
    ({ ask }) => ask(),
    ({ isOver }) => isOver(),
  )

  constructor(options: UpgradeForwardOptions) {
    this.#options = options
  }

  /** `failed` is told why the app has not answered; the socket is then left to whoever is told. */
  forward(
    headers: string[],
    req: RoutedRequest,
    socket: Duplex,
    head: Buffer,
    failed: (error: VhostError) => void,
  ): void {
    const { socketPath, requestTimeout, retry, broken } = this.#options
    const hostname = req.vhost?.hostname
    let up: ClientRequest | undefined
    let timer: NodeJS.Timeout | undefined
    let hasAnswered = false
    let hasFailed = false
    let isLate = false
    const isOver = (): boolean => hasFailed || socket.destroyed
    const ask = (): void => {
      up = sendRequest({
        socketPath,
        agent: false,
        method: req.method,
        path: req.url,
        headers: [...headers, 'Connection', 'Upgrade', 'Upgrade', req.headers.upgrade ?? ''],
        setHost: false,
      })
      up.once('socket', far => far.once('connect', onConnect))
      up.on('error', onError)
      up.on('upgrade', onUpgrade)
      up.on('response', onResponse)
      up.end()
    }
    const onConnect = (): void => {
      // The app has all of its time from here on.
      isLate = false
      timer?.refresh()
      this.#waiting.askAll()
    }
    const onTimeout = (): void => {
      isLate = true
      afterReading(() => {
        if (!isLate || hasAnswered || isOver()) return
        end()
        up?.destroy()
        failed(new VhostError('ERR_VHOST_REQUEST_TIMEOUT', { hostname }))
      })
    }
    const onAnswer = (down: IncomingMessage): void => {
      hasAnswered = true
      clearTimeout(timer)
      socket.write(headOf(down), 'latin1')
    }
    const end = (): void => {
      hasFailed = true
      clearTimeout(timer)
    }
    const onError = (error: NodeJS.ErrnoException): void => {
      debug('upgrade: %s', error.message)
      if (hasFailed) return
      if (isFull(error)) {
        this.#waiting.wait({ isOver, ask })
        return
      }
      broken(error)
      if (hasAnswered || socket.destroyed) socket.destroy()
      else {
        end()
        if (!mayRetry(error, req) || !retry(req, socket, failed)) {
          failed(new VhostError('ERR_VHOST_CRASHED', { hostname, cause: error }))
        }
      }
      this.#waiting.askAll()
    }
    const onUpgrade = (down: IncomingMessage, far: Duplex, farHead: Buffer): void => {
      onAnswer(down)
      if (farHead.length > 0) socket.write(farHead)
      if (head.length > 0) far.write(head)
      join(socket, far)
      join(far, socket)
    }
    // Refused: the answer is the app's own.
    const onResponse = (down: IncomingMessage): void => {
      onAnswer(down)
      down.on('error', () => socket.destroy())
      down.pipe(socket)
      // The client may leave its half open for ever.
      socket.once('finish', () => socket.destroy())
    }
    socket.on('error', error => debug('upgrade: %s', error.message))
    socket.once('close', () => {
      clearTimeout(timer)
      // None was sent where its head may not be sent.
      up?.destroy()
    })
    ask()
    if (requestTimeout > 0) timer = setTimeout(onTimeout, requestTimeout)
  }
}

function join(from: Duplex, to: Duplex): void {
  from.on('error', () => to.destroy())
  from.once('close', () => {
    if (from.readableEnded && !to.writableFinished) flush(to)
    else to.destroy()
  })
  from.pipe(to)
}

/** Lets one side take what the other wrote before it ended. */
function flush(socket: Duplex): void {
  socket.once('finish', () => socket.destroy())
  // An app that gives its client up by destroying the socket looks here as if it had only ended it.
  ;(socket as Partial<Socket>).setTimeout?.(FLUSH_TIMEOUT, () => socket.destroy())
}

/** As the app wrote it; a body whose length it does not say ends with the connection. */
function headOf(down: IncomingMessage): string {
  const { statusCode = 502, statusMessage, rawHeaders } = down
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage || (STATUS_CODES[statusCode] ?? '')}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const isSwitch = statusCode === 101
    if (!isSwitch && /^(?:connection|keep-alive|transfer-encoding)$/i.test(name)) continue
    lines.push(`${name}: ${rawHeaders[at + 1]}`)
  }
  if (statusCode !== 101) lines.push('Connection: close')
  return `${lines.join('\r\n')}\r\n\r\n`
}
