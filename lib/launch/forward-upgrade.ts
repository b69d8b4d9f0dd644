import { type ClientRequest, type IncomingMessage, STATUS_CODES, request as sendRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import { debug } from '../events.ts'
import { refuseUpgrade } from '../refuse-upgrade.ts'
import { FULL_PAUSE, isFull } from './connection-pool.ts'

/**
 * Asks an app behind a private socket for an upgrade, and joins the two connections where it agrees. `failed` is told
 * why there is no connection to the app, or no longer one.
 */
export function forwardUpgrade(
  socketPath: string,
  headers: string[],
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  failed: (error: Error) => void,
): void {
  let up: ClientRequest
  let hasAnswered = false
  socket.on('error', error => debug('upgrade: %s', error.message))
  socket.once('close', () => up.destroy())
  ask()

  function ask(): void {
    up = sendRequest({
      socketPath,
      agent: false,
      method: req.method,
      path: req.url,
      headers: [...headers, 'Connection', 'Upgrade', 'Upgrade', req.headers.upgrade ?? ''],
      setHost: false,
    })
    up.on('error', onError)
    up.on('upgrade', onUpgrade)
    up.on('response', onResponse)
    up.end()
  }

  function onError(error: NodeJS.ErrnoException): void {
    debug('upgrade: %s', error.message)
    if (isFull(error)) {
      setTimeout(() => socket.destroyed || ask(), FULL_PAUSE)
      return
    }
    failed(error)
    if (hasAnswered) socket.destroy()
    else refuseUpgrade(socket, 502)
  }

  function onUpgrade(down: IncomingMessage, far: Duplex, farHead: Buffer): void {
    hasAnswered = true
    socket.write(headOf(down), 'latin1')
    if (farHead.length > 0) socket.write(farHead)
    if (head.length > 0) far.write(head)
    join(socket, far)
    join(far, socket)
  }

  // Refused: the answer is the app's own.
  function onResponse(down: IncomingMessage): void {
    hasAnswered = true
    socket.write(headOf(down), 'latin1')
    down.on('error', () => socket.destroy())
    down.pipe(socket)
  }
}

function join(from: Duplex, to: Duplex): void {
  from.on('error', () => to.destroy())
  from.once('close', () => to.destroy())
  from.pipe(to)
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
