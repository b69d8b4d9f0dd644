import { type ClientRequest, type IncomingMessage, STATUS_CODES, request as sendRequest } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { debug } from '../events.ts'
import { refuseUpgrade } from '../refuse-upgrade.ts'
import { FullQueue, isFull } from './full-queue.ts'

/** How long who reads nothing keeps the other side's last words waiting, in milliseconds. */
const FLUSH_TIMEOUT = 30 * 1000

interface Waiting {
  readonly socket: Duplex
  readonly ask: () => void
}

/** Asks an app behind a private socket for upgrades, and joins the two connections where it agrees. */
export class UpgradeForward {
  readonly #socketPath: string
  readonly #failed: (error: Error) => void
  readonly #waiting = new FullQueue<Waiting>(
    ({ ask }) => ask(),
    ({ socket }) => socket.destroyed,
  )

  /** `failed` is told why there is no connection to the app, or no longer one. */
  constructor(socketPath: string, failed: (error: Error) => void) {
    this.#socketPath = socketPath
    this.#failed = failed
  }

  forward(headers: string[], req: IncomingMessage, socket: Duplex, head: Buffer): void {
    let up: ClientRequest | undefined
    let hasAnswered = false
    const ask = (): void => {
      up = sendRequest({
        socketPath: this.#socketPath,
        agent: false,
        method: req.method,
        path: req.url,
        headers: [...headers, 'Connection', 'Upgrade', 'Upgrade', req.headers.upgrade ?? ''],
        setHost: false,
      })
      up.once('socket', far => far.once('connect', () => this.#waiting.askAll()))
      up.on('error', onError)
      up.on('upgrade', onUpgrade)
      up.on('response', onResponse)
      up.end()
    }
    const onError = (error: NodeJS.ErrnoException): void => {
      debug('upgrade: %s', error.message)
      if (isFull(error)) {
        this.#waiting.wait({ socket, ask })
        return
      }
      this.#failed(error)
      if (hasAnswered) socket.destroy()
      else refuseUpgrade(socket, 502)
      this.#waiting.askAll()
    }
    const onUpgrade = (down: IncomingMessage, far: Duplex, farHead: Buffer): void => {
      hasAnswered = true
      socket.write(headOf(down), 'latin1')
      if (farHead.length > 0) socket.write(farHead)
      if (head.length > 0) far.write(head)
      join(socket, far)
      join(far, socket)
    }
    // Refused: the answer is the app's own.
    const onResponse = (down: IncomingMessage): void => {
      hasAnswered = true
      socket.write(headOf(down), 'latin1')
      down.on('error', () => socket.destroy())
      down.pipe(socket)
      // The client may leave its half open for ever.
      socket.once('finish', () => socket.destroy())
    }
    socket.on('error', error => debug('upgrade: %s', error.message))
    // None was sent where its head may not be sent.
    socket.once('close', () => up?.destroy())
    ask()
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
