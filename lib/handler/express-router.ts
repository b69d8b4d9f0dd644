import type { Handle } from '../launch/launch.ts'
import type { Trusts } from '../trust-proxy.ts'
import { adaptExpressApp, appAround } from './express-app.ts'
import type { ImportPackage } from './package-import.ts'

/** The part of Express that is used here. */
type Express = () => Handle & { disable(name: string): unknown; use(router: Handle): unknown }

/**
 * Lets an Express router, 4 or 5, find on requests and responses what Express puts there, even if they came through no
 * Express app; `imports` are tried in order to find Express. Any other handler stays as it is.
 */
export async function adaptExpressRouter(
  handle: Handle,
  appFolder: string,
  trusts: Trusts | undefined,
  imports: readonly ImportPackage[],
): Promise<Handle> {
  const express = isExpressRouter(handle) ? await importExpress(imports) : undefined
  if (!express) return handle
  const app = express()
  // Whether to send it is up to an app around the router.
  app.disable('x-powered-by')
  app.use(handle)
  const { handle: alone } = adaptExpressApp(app, appFolder, trusts)
  return (req, res, next) => (appAround(req) ? handle : alone)(req, res, next)
}

/** The first Express that these find; undefined if none does. */
async function importExpress(imports: readonly ImportPackage[]): Promise<Express | undefined> {
  for (const importPackage of imports) {
    const found = (await importPackage('express')) as { default: Express } | undefined
    if (found) return found.default
  }
  return undefined
}

/** A connect app has a `route` too, but that is a path. */
function isExpressRouter(handle: Handle): boolean {
  const router = handle as { stack?: unknown; route?: unknown; param?: unknown }
  return (
    Array.isArray(router.stack) && typeof router.route === 'function' && typeof router.param === 'function'
  )
}
