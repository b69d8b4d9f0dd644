import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { App } from './app.ts'
import type { Counters } from './counters.ts'
import { VhostError } from './errors.ts'
import { debug } from './events.ts'
import { Untouched } from './launch/untouched.ts'
import { refuseUpgrade } from './upgrade/refuse-upgrade.ts'

export interface UpgradeHooks {
  /** The app for an upgrade, held until `app.letGo()`; undefined if no vhost has one. Rejects with VhostError. */
  find(req: IncomingMessage): Promise<App | undefined>
  /** Called with what an app threw. */
  failed(app: App, cause: unknown): void
  readonly counters: Counters
}

/** Headers that offer another protocol; `Connection` names them too. */
const OFFER = /^(?:upgrade|http2-settings)$/i

/** Routes a request that a server passes to its `upgrade` event. */
export function routeUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer, hooks: UpgradeHooks): void {
  const isWebSocket = /^websocket$/i.test(req.headers.upgrade ?? '')
  // A client that offers another protocol, such as h2c, is content with an answer in HTTP/1.1 (RFC 9110 §7.8).
  if (!isWebSocket && req.complete && req.readableLength === 0) {
    askAgain(req, socket, head)
    return
  }
  // Before anything is awaited: a client that goes away meanwhile must not end the process.
  socket.on('error', error => debug('upgrade: %s', error.message))
  if (!isWebSocket) {
    answer(req)
    return
  }
  findAndHandOver(req, socket, head, hooks)
}

function findAndHandOver(req: IncomingMessage, socket: Duplex, head: Buffer, hooks: UpgradeHooks): void {
  void hooks.find(req).then(
    app => handOver(app, req, socket, head, hooks),
    error => refuseUpgrade(socket, error instanceof VhostError ? error.status : 500),
  )
}

function handOver(
  app: App | undefined,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  hooks: UpgradeHooks,
): void {
  app?.letGo()
  // A client that ended the socket while the app was loaded has gone: no listener of the app would ever hear of it.
  if (socket.readableEnded) socket.destroy()
  if (socket.destroyed) return
  if (app?.takesUpgrades) {
    app.upgrade(req, socket, head, error => {
      if (error instanceof Untouched) {
        findAndHandOver(req, socket, head, hooks)
      } else if (error instanceof VhostError) {
        refuseUpgrade(socket, error.status)
      } else {
        socket.destroy()
        hooks.failed(app, error)
      }
    })
    return
  }
  if (app) hooks.counters.unrouted.no_app++
  if (serverOf(req).listenerCount('upgrade') <= 1) refuseUpgrade(socket, 404)
}

/**
 * Gives the connection back to the server with the same request, but without the offer, so that the whole server
 * answers it and Node reads the body, which it has left in the socket.
 */
function askAgain(req: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`]
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const [name, value] = req.rawHeaders.slice(i, i + 2) as [string, string]
    if (OFFER.test(name)) continue
    lines.push(`${name}: ${name.toLowerCase() === 'connection' ? withoutOffer(value) : value}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  serverOf(req).emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
}

/** From Node 25 on, the body of such a request has been read already, or is being read, so it cannot be asked again. */
function answer(req: IncomingMessage): void {
  const socket = req.socket
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(socket)
  socket.on('drain', () => res.emit('drain'))
  res.on('finish', () => socket.destroySoon())
  serverOf(req).emit('request', req, res)
}

function withoutOffer(connection: string): string {
  const names = connection.split(',').filter(name => !OFFER.test(name.trim()))
  return names.join() || 'keep-alive'
}

function serverOf(req: IncomingMessage): Server {
  return (req.socket as Socket & { server: Server }).server
}
