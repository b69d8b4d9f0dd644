import type { ServerResponse } from 'node:http'
import { VhostError } from '../errors.ts'
import type { Handle } from '../launch/launch.ts'
import { isPromise } from '../promises/rejection.ts'
import type { RoutedRequest } from '../vhost-info.ts'

/**
 * A function without parameters for request and response may be a factory that returns the app. As a handler it would
 * leave each request without an answer or a word; so if it returns an app, the error says what to do about it, by the
 * name of the export.
 */
export function possibleFactory(handle: Handle, exportName: string): Handle {
  return (req, res, next) => {
    const returned: unknown = handle(req, res, next)
    if (!isPromise(returned)) return refuseApp(returned, req, res, exportName)
    return returned.then(value => refuseApp(value, req, res, exportName))
  }
}

/** Whether an error is one of these, from either side of a wall: they come with requests, and no event reports them. */
export function isOfFactory(error: unknown): boolean {
  const { code, message } = Object(error)
  return code === 'ERR_VHOST_NO_HANDLER' && / its export gives /.test(String(message))
}

function refuseApp(value: unknown, req: RoutedRequest, res: ServerResponse, exportName: string): void {
  if (res.headersSent || res.writableEnded) return
  const detail = isApp(value)
    ? `its export gives the app when it is called: name it in exportName with brackets, '${exportName}()'`
    : value instanceof Response && 'its export gives a Response: export an object with it as fetch'
  if (detail) throw new VhostError('ERR_VHOST_NO_HANDLER', { hostname: req.vhost?.hostname, detail })
}

function isApp(value: unknown): boolean {
  if (typeof value === 'function') return true
  if (typeof value !== 'object' || value === null) return false
  return ['listen', 'fetch', 'handle'].some(name => typeof Reflect.get(value, name) === 'function')
}
