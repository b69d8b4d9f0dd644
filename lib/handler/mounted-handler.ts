import type { Handler } from '../handler.ts'
import type { Trusts } from '../trust-proxy.ts'
import { adaptExpressApp, adaptListeners } from './express-app.ts'
import { adaptExpressRouter } from './express-router.ts'
import type { ImportPackage } from './package-import.ts'

/**
 * Makes a handler of Express feel mounted: an app, a router, or the listeners of a server. A router gets its Express
 * from the first of `imports` that finds one.
 */
export async function mountedHandler(
  handler: Handler,
  appFolder: string,
  trusts: Trusts | undefined,
  imports: readonly ImportPackage[],
): Promise<Handler> {
  const handle = await adaptExpressRouter(handler.handle, appFolder, trusts, imports)
  if (handler.server) adaptListeners(handler.server, appFolder, trusts)
  return { ...handler, ...adaptExpressApp(handle, appFolder, trusts) }
}
