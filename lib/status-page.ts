import { randomBytes } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { reloadAnswer } from './answers/reload-answer.ts'
import { expectRouter } from './expect-router.ts'
import { explanationSteps } from './explain/explanation-steps.ts'
import { hostnameOf, parseGivenHost, parseHost } from './hostname.ts'
import type { VhostRouter } from './index.ts'
import type { Next } from './launch/launch.ts'
import { givenOptions } from './options/given-options.ts'
import { optionError, shown } from './options/option-error.ts'
import { passRejection } from './promises/rejection.ts'
import { Board } from './status-page/board.ts'
import { makeDocument } from './status-page/document.ts'
import { Viewers } from './status-page/viewers.ts'
import { isSecretEqual } from './values/is-secret-equal.ts'
import { errorParts, toPlain } from './values/plain.ts'

export type { BoardChange, BoardRow, BoardSnapshot, Deploy } from './status-page/board.ts'

/** Options of `statusPage()`. */
export interface StatusPageOptions {
  /**
   * The page's own hostname, as a request's Host gives it; the port does not matter. It is reserved: no vhost can have
   * it. `X-Forwarded-Host` is ignored.
   */
  host: string
  /** Whether a request may see and do anything here; called for each. If not, it gets 401. */
  authorize: (req: IncomingMessage) => boolean | Promise<boolean>
  /** @default 'express-van' */
  title?: string | undefined
}

type Middleware = (
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next: (error?: unknown) => void,
) => void

/** The members of the router that the page uses. */
type Watched = Pick<VhostRouter, 'stats' | 'metrics' | 'why' | 'reload' | 'reserve' | 'on'>

/**
 * Middleware that shows operators what a router does, on a host of its own: `GET /` the page, `GET /status.json`,
 * `GET /metrics` (for Prometheus), `GET /events` (server-sent events), `GET /why?host=`, and `POST /reload?host=`
 * with the token of the page. On any other host it only calls `next()`.
 *
 * @example
 * app.use(statusPage(vhosts, { host: 'status.example.com', authorize: req => isOperator(req) }))
 * app.use(vhosts)
 *
 * @throws TypeError `ERR_VHOST_OPTION` on an unknown or missing option or a bad value
 */
export function statusPage(vhosts: Watched, options: StatusPageOptions): Middleware {
  expectRouter('statusPage()', vhosts, ['stats', 'why', 'reload', 'reserve', 'on'])
  const { hostname, authorize, title } = checkOptions(options)
  vhosts.reserve(hostname)
  const token = randomBytes(32).toString('base64url')
  const { html, policy } = makeDocument(title, token)
  const board = new Board(vhosts)
  const viewers = new Viewers(board)

  const routes: Record<string, { method: 'GET' | 'POST'; answer: Answer }> = {
    '/': { method: 'GET', answer: (_, res) => send(res, 200, 'text/html; charset=utf-8', html) },
    '/status.json': {
      method: 'GET',
      answer: (_, res) => sendJson(res, 200, { ...vhosts.stats(), deploys: board.deploys }),
    },
    '/metrics': {
      method: 'GET',
      answer: (_, res) => send(res, 200, 'text/plain; version=0.0.4; charset=utf-8', vhosts.metrics()),
    },
    '/events': { method: 'GET', answer: (req, res) => viewers.add(req, res) },
    '/why': { method: 'GET', answer: (_, res, query) => why(res, query) },
    '/reload': { method: 'POST', answer: (req, res, query) => reload(req, res, query) },
  }

  return function statusPageMiddleware(req: IncomingMessage, res: ServerResponse, next: Next) {
    // The host is read as the router reads it, but without asking a proxy.
    if (hostnameOf(req) !== hostname) {
      next()
      return
    }
    protect(res, policy)
    passRejection(answerOwn(req, res), next)
  } as Middleware

  async function answerOwn(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if ((await authorize(req)) !== true) {
      // RFC 9110 §15.5.2: a 401 must say how to authenticate.
      res.setHeader('WWW-Authenticate', 'Basic realm="status", charset="UTF-8"')
      sendStatus(res, 401)
      return
    }
    const [path = '', query = ''] = pathOf(req).split(/\?(.*)/s)
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    const isAllowed = req.method === route?.method || (req.method === 'HEAD' && route?.method === 'GET')
    if (!route) return sendStatus(res, 404)
    if (!isAllowed) {
      res.setHeader('Allow', route.method === 'GET' ? 'GET, HEAD' : 'POST')
      return sendStatus(res, 405)
    }
    if (path !== '/' && isForeign(req)) return sendStatus(res, 403)
    await route.answer(req, res, new URLSearchParams(query))
  }

  async function why(res: ServerResponse, query: URLSearchParams): Promise<void> {
    const explanation = await vhosts.why(query.get('host') ?? undefined)
    sendJson(res, 200, { explanation, steps: explanationSteps(explanation) })
  }

  async function reload(req: IncomingMessage, res: ServerResponse, query: URLSearchParams): Promise<void> {
    if (!isFromPage(req, hostname) || !isSecretEqual(String(req.headers['x-status-token'] ?? ''), token)) {
      return sendJson(res, 403, { message: 'this was not asked by the page as it is now: load it again' })
    }
    try {
      sendJson(res, ...(await reloadAnswer(vhosts, query.get('host') ?? '')))
    } catch (error) {
      sendJson(res, (error as { status?: number }).status ?? 500, errorParts(error))
    }
  }
}

type Answer = (req: IncomingMessage, res: ServerResponse, query: URLSearchParams) => void | Promise<void>

function checkOptions(options: StatusPageOptions): {
  hostname: string
  authorize: StatusPageOptions['authorize']
  title: string
} {
  const owner = 'statusPage()'
  if (typeof options !== 'object' || options === null) {
    throw optionError(`${owner} needs an object with 'host' and 'authorize', not ${shown(options)}`)
  }
  const given = givenOptions(owner, options, ['host', 'authorize', 'title'])
  const { host, authorize, title = 'express-van' } = given
  const hostname = parseGivenHost(host)
  if (typeof hostname !== 'string') {
    throw optionError(`option 'host' of ${owner} must be a hostname, not ${shown(host)}: ${hostname.refused}`)
  }
  if (typeof authorize !== 'function') {
    throw optionError(`option 'authorize' of ${owner} must be a function, not ${shown(authorize)}`)
  }
  if (typeof title !== 'string') {
    throw optionError(`option 'title' of ${owner} must be a string, not ${shown(title)}`)
  }
  return { hostname, authorize, title }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').replace(/^(?!\/)/, '/')
}

/** Whether a browser says that the request comes from another origin. */
function isForeign({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  return site === 'cross-site' || site === 'same-site'
}

/** A browser says where a request that changes something comes from. For any other client, the token decides. */
function isFromPage({ headers }: IncomingMessage, hostname: string): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') return false
  if (headers.origin === undefined) return true
  const origin = URL.canParse(headers.origin) ? parseHost(new URL(headers.origin).host) : undefined
  return origin === hostname
}

function protect(res: ServerResponse, policy: string): void {
  res.setHeader('Content-Security-Policy', policy)
  res.setHeader('X-Content-Type-Options', 'nosniff')
  res.setHeader('Referrer-Policy', 'no-referrer')
  res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
  res.setHeader('Cache-Control', 'no-store')
}

function sendStatus(res: ServerResponse, status: number): void {
  send(res, status, 'text/plain; charset=utf-8', `${STATUS_CODES[status]}\n`)
}

function sendJson(res: ServerResponse, status: number, body: unknown): void {
  send(res, status, 'application/json', JSON.stringify(body, toPlain))
}

function send(res: ServerResponse, status: number, type: string, body: string): void {
  res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }).end(body)
}
