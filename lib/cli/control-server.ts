import { lstatSync, rmSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { connect } from 'node:net'
import { isAbsolute } from 'node:path'
import { plainError, toPlain } from '../plain.ts'
import type { VhostRouter } from '../vhost-router.ts'
import { checkSocketPath } from './control-socket.ts'
import { EVENTS, LINES } from './event-line.ts'

/** Bytes of events that wait for a reader, who may be suspended; beyond that it is cut off. */
const MAX_WAITING = 2 ** 20

/** How often it is looked whether the socket is still there, in milliseconds. */
const LOOK_EVERY = 5000

export interface Control {
  /** Frees the path; what is being answered goes on. */
  close(): void
  /** Closes, ends the streams of events, and cuts off what else is being answered. */
  end(): void
}

/**
 * Answers the other commands over a Unix socket that this user alone may use (mode 0600): `GET /status`,
 * `GET /why?host=`, `POST /reload?host=`, `GET /events` (a JSON object a line). Where somebody removes the socket it is
 * made anew, once `prepare` has made its folder.
 * @throws Error where another server answers there, or it cannot be made
 */
export async function startControl(
  path: string,
  vhosts: VhostRouter,
  prepare: () => void = () => {},
): Promise<Control> {
  checkSocketPath(path)
  prepare()
  if (await isAnswered(path))
    throw new Error('another server answers at the control socket; choose one by --socket')
  removeLeftBehind(path)
  const streams = new Set<ServerResponse>()
  const answerAll = (req: IncomingMessage, res: ServerResponse): void => {
    void answer(req, res, vhosts, streams)
  }
  let server = await listening(path, answerAll)
  const servers = new Set([server])
  let isClosed = false
  const restore = async (): Promise<void> => {
    if (lstatSync(path, { throwIfNoEntry: false })) return
    // First: it would take the next one's away.
    server.close()
    prepare()
    server = await listening(path, answerAll)
    servers.add(server)
    if (isClosed) server.close()
  }
  // What cannot be made now is looked for again.
  const timer = setInterval(() => void restore().catch(() => {}), LOOK_EVERY).unref()
  const close = (): void => {
    isClosed = true
    clearInterval(timer)
    server.close()
  }
  return {
    close,
    end() {
      close()
      // Written at once where the reader has room, so it may be cut off afterwards; one who is suspended is not waited for.
      for (const res of streams) res.end()
      for (const one of servers) one.closeAllConnections()
    },
  }
}

async function listening(path: string, listener: RequestListener): Promise<Server> {
  const server = createServer(listener)
  const before = process.umask(0o177)
  try {
    // Node takes a number, even as `path`, for a port, which would be open to everybody.
    server.listen(isAbsolute(path) ? path : `./${path}`)
  } finally {
    process.umask(before)
  }
  await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject))
  // It must not keep the server alive that it tells of.
  return server.unref()
}

/** By a server that was killed. @throws Error where that is no socket, and may be somebody's work */
function removeLeftBehind(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats && !stats.isSocket()) throw new Error(`${path} is there and is no socket; choose one by --socket`)
  rmSync(path, { force: true })
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  vhosts: VhostRouter,
  streams: Set<ServerResponse>,
): Promise<void> {
  try {
    const url = new URL(req.url ?? '/', 'http://control')
    const host = url.searchParams.get('host') ?? ''
    const verb = `${req.method} ${url.pathname}`
    if (verb === 'GET /status') send(res, 200, vhosts.stats())
    else if (verb === 'GET /why') send(res, 200, await vhosts.why(host))
    else if (verb === 'POST /reload') await reload(res, vhosts, host)
    else if (verb === 'GET /events') stream(res, vhosts, streams)
    else send(res, 404, { message: 'no such verb' })
  } catch (error) {
    send(res, 500, plainError(error))
  }
}

async function reload(res: ServerResponse, vhosts: VhostRouter, host: string): Promise<void> {
  const release = await vhosts.reload(host)
  if (release) send(res, 200, { realPath: release.realPath })
  else send(res, 404, { message: 'no such vhost, or no app in it' })
}

function stream(res: ServerResponse, vhosts: VhostRouter, streams: Set<ServerResponse>): void {
  streams.add(res)
  res.writeHead(200, { 'Content-Type': LINES }).flushHeaders()
  const listeners = EVENTS.map(event => {
    const tell = (about: object): void => {
      res.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...about }, toPlain)}\n`)
      if (res.writableLength > MAX_WAITING) res.destroy()
    }
    vhosts.on(event, tell)
    return () => vhosts.off(event, tell)
  })
  res.once('close', () => {
    streams.delete(res)
    for (const stop of listeners) stop()
  })
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body, toPlain))
}

/** Whether somebody listens there, even one who is suspended. */
function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ path: socketPath })
      .on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      .on('error', () => resolve(false))
  })
}
