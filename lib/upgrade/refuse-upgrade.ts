import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'

/** Answers an upgrade with a status and no body, and ends the connection. `headers` are further header lines. */
export function refuseUpgrade(
  socket: Duplex,
  status: number,
  headers: string = status === 503 ? 'Retry-After: 1\r\n' : '',
): void {
  const text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n${headers}Content-Length: 0\r\n\r\n`
  socket.end(text, () => socket.destroy())
}
