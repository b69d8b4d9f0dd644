import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { App } from './app.ts'
import { VhostError } from './errors.ts'
import { debug } from './events.ts'
import type { Handle } from './launch/launch.ts'

/** The app for an upgrade, held until `app.waiting--`; undefined where no vhost has one. Rejects with VhostError. */
export type FindApp = (req: IncomingMessage) => Promise<App | undefined>

/** Routes what a server tells of in its `upgrade` event. */
export function routeUpgrade(
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  findApp: FindApp,
  serve: Handle,
): void {
  // Before anything is awaited: a client that goes away meanwhile must not end the process.
  socket.on('error', error => debug('upgrade: %s', error.message))
  if (!/^websocket$/i.test(req.headers.upgrade ?? '')) {
    serveAsRequest(req, socket, serve)
    return
  }
  void findApp(req).then(
    app => handOver(app, req, socket, head),
    error => refuse(socket, error instanceof VhostError ? error.status : 500),
  )
}

function handOver(app: App | undefined, req: IncomingMessage, socket: Duplex, head: Buffer): void {
  if (app) app.waiting--
  if (socket.destroyed) return
  if (app?.takesUpgrades) {
    app.upgrade(req, socket, head, error => {
      debug('upgrade: the app failed: %o', error)
      socket.destroy()
    })
  } else if (!othersListen(req)) {
    refuse(socket, 404)
  }
}

function othersListen(req: IncomingMessage): boolean {
  const { server } = req.socket as { server?: { listenerCount(event: string): number } }
  return (server?.listenerCount('upgrade') ?? 0) > 1
}

function refuse(socket: Duplex, status: number): void {
  const retry = status === 503 ? 'Retry-After: 1\r\n' : ''
  const text = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n${retry}Content-Length: 0\r\n\r\n`
  socket.end(text, () => socket.destroy())
}

/** Who offers another protocol than WebSocket, h2c for one, is content with an answer in HTTP/1.1 (RFC 9110 §7.8). */
function serveAsRequest(req: IncomingMessage, socket: Duplex, serve: Handle): void {
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(req.socket)
  res.on('finish', () => {
    res.detachSocket(req.socket)
    socket.end()
  })
  // Node reads no body after an upgrade.
  if (!req.complete) req.push(null)
  serve(req, res, error => {
    res.statusCode = error instanceof VhostError ? error.status : error ? 500 : 404
    res.end(STATUS_CODES[res.statusCode])
  })
}
