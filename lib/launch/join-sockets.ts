import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** How long a side that reads nothing keeps the other side's last bytes waiting, in milliseconds. */
const FLUSH_TIMEOUT = 30 * 1000

/** Joins two connections: what either side writes goes to the other, and they end together. */
export function joinSockets(one: Duplex, other: Duplex): void {
  join(one, other)
  join(other, one)
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
  // An app that drops its client by destroying the socket looks here as if it had only ended it.
  ;(socket as Partial<Socket>).setTimeout?.(FLUSH_TIMEOUT, () => socket.destroy())
}
