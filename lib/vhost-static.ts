import { realpath } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { finalAnswer } from './answers/final-answer.ts'
import type { AppCache } from './app-cache.ts'
import type { AppFinder } from './app-finder.ts'
import { documentRoot } from './document-root.ts'
import type { Name } from './hostname.ts'
import type { Next } from './launch/launch.ts'
import type { Settings } from './options.ts'
import type { StaticOptions } from './static-options.ts'
import { infoOf, makeInfo, tellVhost } from './vhost-info.ts'
import { seekVhost, type VhostLocation, type VhostPlace } from './vhost-path.ts'
import type { VhostTable } from './vhost-table.ts'

type Middleware = (
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next?: Next,
) => void

/**
 * The middleware for the document roots of vhosts. `nameOf` returns the name that a request asks for; if it returns
 * none, it has called `next`.
 *
 * @throws TypeError `ERR_VHOST_OPTION` for an unknown option or a bad value.
 */
export function vhostStatic(
  options: StaticOptions | undefined,
  settings: Settings,
  table: VhostTable,
  apps: AppCache,
  finder: AppFinder,
  nameOf: (req: IncomingMessage, next: Next) => Name | undefined,
): Middleware {
  const serve = documentRoot(options, settings)
  return function vhostStaticMiddleware(req: IncomingMessage, res: ServerResponse, given?: Next) {
    const next = given ?? finalAnswer(req, res)
    const name = nameOf(req, next)
    if (!name) return
    const { hostname, host } = name
    const vhost = table.peek(hostname)
    if (vhost) {
      tellVhost(req, infoOf(vhost, host))
      serveServing(vhost)
    } else {
      finder.locate(hostname, req, ({ location }) => serveLocated(location, next))
    }

    // An error is left to the router, which meets the same one and reports it.
    function serveLocated(location: VhostLocation | undefined, on: () => void): void {
      if (!location) {
        on()
        return
      }
      tellVhost(req, makeInfo({ hostname, ...location }, host))
      if (location.isServing) serveServing(location)
      else serve(location.realPath, req, res, next)
    }

    function serveServing(place: VhostPlace): void {
      serve(place.realPath, req, res, next, (on, isGone) => {
        const serveNewest = (): void =>
          seekVhost(hostname, settings, (_, location) => serveLocated(location, on), false)
        if (isGone) serveNewest()
        else ifLedElsewhere(place, apps, serveNewest, on)
      })
    }
  } as Middleware
}

/**
 * The release that serves a hostname may be deleted already, file by file, while the one it was led to instead is being
 * loaded.
 */
function ifLedElsewhere(
  { vhostPath, realPath }: VhostPlace,
  apps: AppCache,
  then: () => void,
  otherwise: () => void,
): void {
  realpath.native(vhostPath, (error, now) => {
    if (error || now === realPath || apps.failure(now)) otherwise()
    else then()
  })
}
