import { adaptExpressApp, adaptListeners } from './express-app.ts'
import { adaptExpressRouter } from './express-router.ts'
import type { Handler } from './handler.ts'
import type { ImportPackage } from './package-import.ts'
import type { Trusts } from './trust-proxy.ts'

/**
 * A handler that feels mounted where it is one of Express: an app, a router, for which the first of `imports` that finds
 * Express gives it, or the listeners of a server.
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
