import type { IncomingMessage, ServerResponse } from 'node:http'
import { VhostError } from '../errors.ts'
import type { Handle } from '../launch/launch.ts'
import { type ImportPackage, importOwn } from './package-import.ts'

/** An app of Hono or h3, or any other object that answers a standard `Request`. */
export interface FetchApp {
  /** `env` is what Hono's own adapter for Node passes. */
  fetch(request: Request, env: Env): unknown
}

interface Env {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

/** The part of srvx that is used here. */
interface Srvx {
  NodeRequest: new (
    node: Adapted,
  ) => Request & {
    readonly _request?: Request
    readonly runtime: unknown
    readonly ip: string | undefined
  }
  sendNodeResponse(res: ServerResponse, response: Response): Promise<void>
}

interface Adapted {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** Calls `fetch(request)` for each request. The adapter, srvx, is the app's own copy, or else that of express-van. */
export async function fetchHandler(app: FetchApp, importPackage: ImportPackage): Promise<Handle> {
  const { NodeRequest, sendNodeResponse } = await adapter(importPackage)
  return async (req, res) => {
    const request = toStandard(new NodeRequest({ req, res }))
    if (request.body) res.once('finish', () => leaveUnread(req, request))
    const response = await app.fetch(request, { incoming: req, outgoing: res })
    if (!isResponse(response)) throw new TypeError('fetch() of the app gave no Response')
    await sendNodeResponse(res, withEveryCookie(response, res))
  }
}

async function adapter(importPackage: ImportPackage): Promise<Srvx> {
  for (const importIt of [importPackage, importOwn]) {
    const found = (await importIt('srvx')) as Partial<Srvx> | undefined
    if (found?.NodeRequest && found.sendNodeResponse) return found as Srvx
  }
  throw new VhostError('ERR_VHOST_LOAD', {
    detail:
      'an app with fetch() needs the package srvx: run `npm install srvx` in the vhost, or beside express-van for all',
  })
}

/**
 * The request of srvx is a light copy, which `new Request(request)` and `fetch(request)` refuse. What it has beyond the
 * standard is kept, because h3 uses it.
 */
function toStandard(light: InstanceType<Srvx['NodeRequest']>): Request {
  const { _request: request, runtime, ip } = light
  return request ? Object.assign(request, { runtime, ip }) : light
}

// Node does the same when nobody reads a body; otherwise the connection would wait for it.
function leaveUnread(req: IncomingMessage, request: Request): void {
  if (request.bodyUsed || req.readableEnded) return
  req.removeAllListeners('data')
  req.resume()
}

/**
 * Before Node 22, writeHead() sends only the last of a field that it is given twice, if other fields were set before.
 */
function withEveryCookie(response: Response, res: ServerResponse): Response {
  if (response.headers.getSetCookie().length < 2) return response
  const { body, status, statusText, headers } = response
  for (const name of headers.keys()) res.removeHeader(name)
  for (const [name, value] of headers) res.appendHeader(name, value)
  return new Response(body, { status, statusText })
}

function isResponse(value: unknown): value is Response {
  return typeof (value as Partial<Response> | undefined)?.headers?.getSetCookie === 'function'
}
