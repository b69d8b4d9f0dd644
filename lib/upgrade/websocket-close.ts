import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A server's close frame with the code 1012, service restart (RFC 6455 §5.5.1 and IANA's registry of codes). */
const SERVICE_RESTART = Buffer.from([0x88, 0x02, 0x03, 0xf4])
/** How long a client that does not read may keep the socket, in milliseconds. */
const FLUSH_TIMEOUT = 1000

/**
 * Ends a WebSocket with a close frame. If nothing has been written since `before`, the app has not switched protocols
 * and a frame would be no answer; then the socket is destroyed at once.
 */
export function closeWebSocket(socket: Duplex, before: number): void {
  if (!socket.writable || bytesWritten(socket) <= before) {
    socket.destroy()
    return
  }
  socket.end(SERVICE_RESTART, () => socket.destroy())
  setTimeout(() => socket.destroy(), FLUSH_TIMEOUT).unref()
}

/** How many bytes were written to a socket; 0 if it is not one of Node's. */
export function bytesWritten(socket: Duplex): number {
  return (socket as Partial<Socket>).bytesWritten ?? 0
}
