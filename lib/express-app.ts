import { IncomingMessage, type RequestListener, type Server } from 'node:http'
import { join, resolve } from 'node:path'
import type { Handle, Mounted, Next } from './launch/launch.ts'
import type { Trusts } from './trust-proxy.ts'

interface ExpressApp {
  handle: Handle
  settings: Record<string, unknown>
  set(name: string, value: unknown): unknown
  lazyrouter?: unknown
}

type ExpressRequest = IncomingMessage & { app?: Partial<ExpressApp>; query?: unknown }

/** Where Express notes that an app left its `trust proxy` alone, so that it takes that of the app around it. */
const TRUST_IS_DEFAULT = '@@symbol:trust_proxy_default'
const trustNobody: Trusts = () => false

interface Adapted {
  readonly handle: Handle
  /** To be told, before a request is handled, through which Express app that came, where it is not that of the last one. */
  readonly mounted?: Mounted
}

/**
 * Makes an Express app, 4 or 5, feel mounted: it trusts the proxies that the app around it trusts, and finds its
 * views in its own folder. Any other handler stays as it is.
 */
export function adaptExpressApp(handle: Handle, appFolder: string, trusts: Trusts | undefined): Adapted {
  if (!isExpressApp(handle)) return { handle }
  const app = handle
  if (app.settings.views === resolve('views')) app.set('views', join(appFolder, 'views'))
  const call = typeof app.lazyrouter === 'function' ? callExpress4(handle) : handle
  if (app.settings[TRUST_IS_DEFAULT] !== true) return { handle: call }
  setTrust(app, trusts)
  if (trusts) return { handle: call }
  return { handle: call, mounted: around => setTrust(app, trustOfApp(around)) }
}

/** The Express app that a request came through; undefined where it came through none. */
export function appAround(req: IncomingMessage): unknown {
  return (req as ExpressRequest).app
}

/**
 * As `adaptExpressApp`, for the Express apps that answer a server's requests. Any other listener gets the request as
 * Node made it: behind that of socket.io, for one, an app of Express 4 is out of sight.
 */
export function adaptListeners(server: Server, appFolder: string, trusts: Trusts | undefined): void {
  const listeners = server.listeners('request') as Handle[]
  server.removeAllListeners('request')
  for (const listener of listeners) {
    const adapted = isExpressApp(listener)
      ? told(adaptExpressApp(listener, appFolder, trusts))
      : withoutQuery(listener)
    // By this Node knows what the app takes off by `off()`, and gives it back in `listeners()`.
    if (adapted !== listener) Object.assign(adapted, { listener })
    server.on('request', adapted as RequestListener)
  }
}

/** Whom the Express app that a request came through trusts; nobody where there is none. */
export function trustOf(req: IncomingMessage): Trusts | undefined {
  return trustOfApp(appAround(req))
}

function trustOfApp(app: unknown): Trusts | undefined {
  return (app as Partial<ExpressApp> | undefined)?.settings?.['trust proxy fn'] as Trusts | undefined
}

function told({ handle, mounted }: Adapted): Handle {
  if (!mounted) return handle
  let last: unknown
  return (req, res, next) => {
    const around = appAround(req)
    if (around !== last) mounted(around)
    last = around
    return handle(req, res, next)
  }
}

function isExpressApp(handle: unknown): handle is Handle & ExpressApp {
  const app = handle as Partial<ExpressApp>
  return typeof app.handle === 'function' && typeof app.set === 'function' && typeof app.settings === 'object'
}

// By assignment: set() would note that the app had chosen for itself.
function setTrust(app: ExpressApp, trusts: Trusts | undefined): void {
  app.settings['trust proxy fn'] = trusts ?? trustNobody
}

function callExpress4(handle: Handle): Handle {
  return (req: ExpressRequest, res, next) => {
    if (!hideQuery(req)) return handle(req, res, next)
    // A server's listener is called without next.
    const done: Next | undefined =
      next &&
      (error => {
        delete req.query
        next(error)
      })
    return handle(req, res, done as Next)
  }
}

function withoutQuery(listener: Handle): Handle {
  return function (this: unknown, req, res, next) {
    hideQuery(req)
    return listener.call(this, req, res, next)
  }
}

/**
 * Express 4 parses the query only where the request has none, and takes the getter that Express 5 hangs on its
 * prototype for one; then it swaps the prototypes and the query is gone.
 */
function hideQuery(req: ExpressRequest): boolean {
  if (!('query' in req) || Object.hasOwn(req, 'query')) return false
  Object.setPrototypeOf(req, IncomingMessage.prototype)
  return true
}
