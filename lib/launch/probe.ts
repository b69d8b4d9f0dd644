import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http'
import { type Duplex, duplexPair } from 'node:stream'
import { finished } from 'node:stream/promises'
import { VhostError } from '../errors.ts'
import type { RoutedRequest, VhostInfo } from '../vhost-info.ts'
import type { Probe } from '../vhost-settings.ts'
import { isNextError } from './is-next-error.ts'
import type { Handle } from './launch.ts'

/**
 * Asks a handler that serves nobody yet, as a client would, but not over a network.
 * @throws VhostError `ERR_VHOST_LOAD` if it does not answer as it should
 */
export async function probe(
  handle: Handle,
  vhost: VhostInfo,
  { path, status, timeout }: Probe,
): Promise<void> {
  let passedOn: unknown
  const server = createServer((req: RoutedRequest, res) => {
    req.vhost = vhost
    void answer(handle, req, res).catch(error => {
      passedOn = error
      fail(res, 500)
    })
  })
  const [near, far] = duplexPair()
  // One half does not notice the end of the other by itself.
  far.once('close', () => far.writableFinished || near.destroy())
  server.emit('connection', asSocket(far))
  const request = sendRequest({
    path,
    headers: { host: vhost.hostname, connection: 'close', 'user-agent': 'express-van' },
    createConnection: () => asSocket(near),
  })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    request.destroy()
  }, timeout)
  try {
    const got = await statusOf(request.end())
    if (status === undefined ? got >= 200 && got <= 399 : got === status) return
    throw failure(path, `was answered with ${got}`, passedOn)
  } catch (error) {
    if (error instanceof VhostError) throw error
    throw isLate
      ? failure(path, `was not answered within ${timeout} ms`)
      : failure(path, 'was not answered', error)
  } finally {
    clearTimeout(timer)
    near.destroy()
    far.destroy()
    server.close()
  }
}

/** Rejects with what the handler threw or passed on. */
async function answer(handle: Handle, req: IncomingMessage, res: ServerResponse): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    res.once('close', resolve)
    const returned = handle(req, res, error => {
      if (isNextError(error)) reject(error)
      else fail(res, 404)
    })
    Promise.resolve(returned).catch(reject)
  })
}

function fail(res: ServerResponse, status: number): void {
  if (res.headersSent) res.destroy()
  else res.writeHead(status).end()
}

/** Waits for the whole answer. */
async function statusOf(request: ReturnType<typeof sendRequest>): Promise<number> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', reject)
  })
  await finished(response.resume())
  return response.statusCode ?? 0
}

function failure(path: string, what: string, cause?: unknown): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail: `its probe GET ${path} ${what}`, cause })
}

/** Adds what handlers, and Node on their behalf, call or look up on a socket. */
function asSocket(stream: Duplex): Duplex {
  const itself = (): Duplex => stream
  return Object.assign(stream, {
    setTimeout: itself,
    setNoDelay: itself,
    setKeepAlive: itself,
    ref: itself,
    unref: itself,
    remoteAddress: '127.0.0.1',
    remoteFamily: 'IPv4',
  })
}
