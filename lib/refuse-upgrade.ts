import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'

/** Answers an upgrade with a status and no body, and ends the connection. */
export function refuseUpgrade(socket: Duplex, status: number): void {
  const retry = status === 503 ? 'Retry-After: 1\r\n' : ''
  const text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n${retry}Content-Length: 0\r\n\r\n`
  socket.end(text, () => socket.destroy())
}
