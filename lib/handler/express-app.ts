import { IncomingMessage, type RequestListener, type Server } from 'node:http'
import { join, resolve } from 'node:path'
import type { Handle, Mounted, Next } from '../launch/launch.ts'
import type { Trusts } from '../trust-proxy.ts'

interface ExpressApp {
  handle: Handle
  settings: Record<string, unknown>
  set(name: string, value: unknown): unknown
  lazyrouter?: unknown
}

type ExpressRequest = IncomingMessage & { app?: Partial<ExpressApp>; query?: unknown }

/**
 * The setting in which Express notes that an app left its `trust proxy` alone, so that it inherits that of the app
 * around it.
 */
const TRUST_IS_DEFAULT = '@@symbol:trust_proxy_default'
const trustNobody: Trusts = () => false

interface Adapted {
  readonly handle: Handle
  /**
   * To be called with the Express app that a request came through, before it is handled, if that is not the last one's.
   */
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

/** The Express app that a request came through; undefined if it came through none. */
export function appAround(req: IncomingMessage): unknown {
  return (req as ExpressRequest).app
}

/**
 * As `adaptExpressApp`, for the Express apps that answer a server's requests. Any other listener gets the request as
 * Node made it, since it may call an Express 4 app that is out of sight, as that of socket.io does.
 */
export function adaptListeners(server: Server, appFolder: string, trusts: Trusts | undefined): void {
  const listeners = server.listeners('request') as Handle[]
  server.removeAllListeners('request')
  for (const listener of listeners) {
    const adapted = isExpressApp(listener)
      ? told(adaptExpressApp(listener, appFolder, trusts))
      : withoutQuery(listener)
    // Lets the app take its own listener off by `off()` and find it in `listeners()`.
    if (adapted !== listener) Object.assign(adapted, { listener })
    server.on('request', adapted as RequestListener)
  }
}

/** Whom the Express app that a request came through trusts; undefined if there is none. */
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

// By assignment: set() would record it as the app's own choice.
function setTrust(app: ExpressApp, trusts: Trusts | undefined): void {
  app.settings['trust proxy fn'] = trusts ?? trustNobody
}

function callExpress4(handle: Handle): Handle {
  return (req: ExpressRequest, res, next) => {
    if (!hideQuery(req)) return handle(req, res, next)
    // A server calls its listeners without next.
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
 * Express 4 parses the query only if the request has none. It takes the getter on the prototype of Express 5 for one,
 * then swaps the prototypes, and the query is gone.
 */
function hideQuery(req: ExpressRequest): boolean {
  if (!('query' in req) || Object.hasOwn(req, 'query')) return false
  Object.setPrototypeOf(req, IncomingMessage.prototype)
  return true
}
