import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Duplex } from 'node:stream'
import { finalAnswer } from './answers/final-answer.ts'
import type { App } from './app.ts'
import { AppCache } from './app-cache.ts'
import { AppFinder } from './app-finder.ts'
import { Counters } from './counters.ts'
import { DiskFaults } from './disk-faults.ts'
import { VhostError } from './errors.ts'
import { Events, type Listen } from './events.ts'
import { pathBelow } from './files/is-within.ts'
import { Follower } from './follower.ts'
import { trustOf } from './handler/express-app.ts'
import { hostOf, type Name, parseGivenHost, parseHost, type TrustsOf } from './hostname.ts'
import type { Next } from './launch/launch.ts'
import { Launcher } from './launch/launcher.ts'
import { formatMetrics } from './metrics.ts'
import { drainTimeoutOf, resolveOptions, type VhostRouterOptions } from './options.ts'
import { Refresher } from './refresher.ts'
import type { Release } from './release.ts'
import { type Place, tellServedNames } from './served-names.ts'
import type { StaticOptions } from './static-options.ts'
import { collectStats, type VhostStats } from './stats.ts'
import { routeUpgrade } from './upgrade.ts'
import { infoOf, makeInfo, tellVhost, type VhostInfo } from './vhost-info.ts'
import { locateVhost } from './vhost-path.ts'
import { expectBasePath } from './vhost-router/base-path.ts'
import { ColdRequests } from './vhost-router/cold-requests.ts'
import { type HostVerbs, hostVerbs } from './vhost-router/host-verbs.ts'
import { vhostStatic } from './vhost-static.ts'
import { type Vhost, VhostTable } from './vhost-table.ts'
import { VhostWatch } from './vhost-watch.ts'
import { writeLine } from './write-line.ts'

declare global {
  namespace Express {
    interface Request {
      /** The vhost that express-van routed this request to. */
      vhost?: VhostInfo
    }
  }
}

type AnyRequest = IncomingMessage | Http2ServerRequest
type AnyResponse = ServerResponse | Http2ServerResponse

/** Middleware that routes each request to the app in the folder named for its host. All members are bound. */
export interface VhostRouter extends HostVerbs {
  /**
   * Routes a request. No Host, no such vhost, or no app in it: `next()`. Host refused: `next(error)` with status 400.
   * App cannot be loaded and no earlier release serves: 500; load timed out or no room: 503 with `Retry-After`. Without
   * `next`, as when a server calls its listener, it answers by itself: 404, or the status of the error.
   */
  (req: AnyRequest, res: AnyResponse, next?: (error?: unknown) => void): void
  /** Middleware for the document roots of vhosts; loads no app, and serves vhosts without one. */
  static(
    options?: StaticOptions,
  ): (req: AnyRequest, res: AnyResponse, next?: (error?: unknown) => void) => void
  /** Routes upgrades: `server.on('upgrade', vhosts.upgrade)`. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void
  readonly on: Listen<this>
  readonly once: Listen<this>
  readonly off: Listen<this>
  /** As `off`, under the name that `once()` and `on()` of `node:events` call. */
  readonly removeListener: Listen<this>
  /** What the router knows, as plain JSON. */
  stats(): VhostStats
  /**
   * What `stats()` knows, and what has been counted so far, in Prometheus's text format, version 0.0.4: send it as
   * `text/plain; version=0.0.4`.
   */
  metrics(): string
  /** New requests get 503; drains, disposes, stops watching. Idempotent. */
  close(options?: { drainTimeout?: number | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** The name that a request asks for, with what the table knows of it if it is written as it is there. */
type AskedName = Name & { readonly vhost: Vhost | undefined }

/** With wildcards, many hostnames lead to one app: this many times `maxApps` are known, or at least 1,000. */
const NAMES_PER_APP = 10
const LEAST_NAMES = 1000

/**
 * One folder per hostname, and the web app in it is live.
 *
 * @example
 * const vhosts = vhostRouter({ basePath: '/var/www' })
 * app.use(vhosts.static()) // document roots: <vhost>/static
 * app.use(vhosts) //          sub-apps:       <vhost>/app
 * app.listen(3000).on('upgrade', vhosts.upgrade)
 *
 * @throws TypeError `ERR_VHOST_OPTION` on an unknown option or a bad value
 */
export function vhostRouter(options?: VhostRouterOptions): VhostRouter {
  const settings = { ...resolveOptions(options), reserved: new Set<string>() }
  const vacancyListeners: ((path: string) => void)[] = []
  const counters = new Counters()
  const events = new Events(counters.note)
  const launcher = new Launcher(settings, vhostRouterMiddleware, tellLine)
  const maxNames = Math.max(LEAST_NAMES, NAMES_PER_APP * settings.maxApps)
  const table = new VhostTable(maxNames, realPath => apps.peek(realPath)?.isBusy === true, forget)
  const apps = new AppCache(
    settings,
    (release, hostname, lastEntry) => launcher.launch(release, lastEntry, () => infoFor(hostname, release)),
    events,
    {
      hostnamesOf: realPath => table.hostnames(realPath),
      realPathOf: hostname => table.peek(hostname)?.realPath,
      switched: realPath => table.forgetApp(realPath),
      left: realPath => {
        for (const hostname of table.hostnames(realPath)) follower.leave(hostname)
      },
      ended: app => counters.noteEnd(app),
      revive: hostname => void revive(hostname),
    },
  )
  const faults = new DiskFaults(apps, events)
  const watch = new VhostWatch(settings, apps, hostname => refresher.refresh(hostname))
  const follower = new Follower(settings, table, apps, events, faults, watch, path => {
    for (const listener of vacancyListeners) listener(path)
  })
  const refresher = new Refresher(settings, table, follower, faults, watch)
  const finder = new AppFinder(settings, table, apps, follower, faults)
  const cold = new ColdRequests(finder, counters)
  const trustsOf: TrustsOf = req => settings.trusts ?? trustOf(req)
  let closing: Promise<void> | undefined
  // Later, because the program may first make the folder, and listen to events.
  setImmediate(() => {
    if (!closing) expectBasePath(settings, events)
  })

  function vhostRouterMiddleware(req: IncomingMessage, res: ServerResponse, given?: Next): void {
    const next = given ?? finalAnswer(req, res)
    const name = nameOf(req, trustsOf, next)
    if (!name) return
    const vhost = name.vhost ? table.use(name.vhost) : table.get(name.hostname)
    const app = vhost && apps.serving(vhost)
    if (!app) {
      cold.serve(name, req, res, next)
      return
    }
    tellVhost(req, infoOf(vhost, name.host))
    app.handle(req, res, next)
  }

  /** The name a request asks for; if it is not to be routed, calls `next` and returns undefined. */
  function nameOf(req: IncomingMessage, trustsOf: TrustsOf, next: Next): AskedName | undefined {
    let host: ReturnType<typeof hostOf>
    try {
      host = hostOf(req, trustsOf)
    } catch (error) {
      // Thrown by the user's own function, which says whom to trust.
      counters.unrouted.failed++
      next(error)
      return undefined
    }
    // Only valid hostnames come into the table, and to parse one is a fifth of the way to the app.
    const vhost = typeof host === 'string' ? table.peek(host) : undefined
    const hostname = vhost?.hostname ?? (typeof host === 'string' ? parseHost(host) : host)
    if (typeof hostname === 'string') {
      // Of two equal strings, the one that is kept: to compare it later takes no look at its characters.
      if (!closing) return { host: vhost ? hostname : (host as string), hostname, vhost }
      next(new VhostError('ERR_VHOST_CLOSED', { hostname }))
    } else {
      if (hostname) counters.unrouted.refused++
      next(hostname && new VhostError('ERR_VHOST_HOST', { detail: hostname.refused }))
    }
    return undefined
  }

  /** Loads a crashed app again, whether or not anybody asks for it. */
  async function revive(hostname: string): Promise<void> {
    if (closing) return
    // An event reports a load that fails, and whoever asks next meets the same error.
    const app = await finder.find(hostname, hostname).catch(() => undefined)
    app?.letGo()
  }

  function tellLine({ realPath, version }: Release, stream: 'stdout' | 'stderr', line: string): void {
    const hostnames = apps.hostnamesOf(realPath)
    // The last part of a path alone could be the name of another vhost.
    writeLine(hostnames[0] ?? pathBelow(realPath, settings.basePath), stream, line)
    events.emit('log', { hostnames, realPath, version, stream, line })
  }

  /** What `req.vhost` is on the probe, which a new release has to answer before it serves. */
  async function infoFor(hostname: string, { realPath }: Release): Promise<VhostInfo> {
    const location = await locateVhost(hostname, settings)
    return makeInfo({ vhostPath: realPath, captures: [], ...location, hostname, realPath }, hostname)
  }

  function upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    routeUpgrade(req, socket, head, { find: findUpgradeApp, failed: tellUpgradeFailed, counters })
  }

  async function findUpgradeApp(req: IncomingMessage): Promise<App | undefined> {
    let refusal: unknown = new VhostError('ERR_VHOST_HOST', { detail: 'an upgrade needs a Host' })
    const name = nameOf(
      req,
      () => settings.trusts,
      error => {
        refusal = error ?? refusal
      },
    )
    if (!name) throw refusal
    const vhost = table.get(name.hostname)
    const app = vhost && apps.serving(vhost)
    if (!app) return await cold.find(name, req)
    tellVhost(req, infoOf(vhost, name.host))
    app.hold()
    return app
  }

  /**
   * Failed requests go to the error handler of the app around; upgrades have no such thing, so an event reports them.
   */
  function tellUpgradeFailed({ release, name, isRetired }: App, cause: unknown): void {
    const { realPath } = release
    const error = new Error('upgrade() of the app failed', { cause })
    const hostnames = isRetired ? [name] : table.hostnames(realPath)
    const serving = isRetired ? apps.peek(table.peek(name)?.realPath ?? realPath)?.release : release
    events.emit('error', { hostnames, ...release, error, serving })
  }

  async function servedPlaceOf(host: string, path?: string): Promise<Place | undefined> {
    const hostname = parseGivenHost(host)
    const served = typeof hostname === 'string' ? await finder.servedPlace(hostname, path) : undefined
    return served && { path: served.vhostPath, realPath: served.realPath }
  }

  /** Called when the table has no room for this hostname any more. */
  function forget({ hostname, realPath }: Vhost): void {
    // Not while the table itself is changing.
    queueMicrotask(() => {
      if (table.peek(hostname)) return
      follower.leave(hostname)
      if (table.hostnames(realPath).length === 0) apps.retire(realPath, 'lru', [hostname])
    })
  }

  async function closeAll(drainTimeout: number): Promise<void> {
    finder.close()
    faults.close()
    watch.close()
    await apps.close(drainTimeout)
    await launcher.close()
  }

  function close(options?: { drainTimeout?: number | undefined }): Promise<void> {
    try {
      const drainTimeout = drainTimeoutOf(options) ?? settings.drainTimeout
      closing ??= closeAll(drainTimeout)
      return closing
    } catch (error) {
      return Promise.reject(error)
    }
  }

  const router: VhostRouter = Object.assign(vhostRouterMiddleware as ReturnType<VhostRouter['static']>, {
    static: (staticOptions?: StaticOptions) =>
      vhostStatic(staticOptions, settings, table, apps, finder, (req, next) => nameOf(req, trustsOf, next)),
    upgrade,
    on: chain(events.on),
    once: chain(events.once),
    off: chain(events.off),
    removeListener: chain(events.off),
    stats,
    metrics: () => formatMetrics(stats(), apps, counters),
    ...hostVerbs(settings, table, apps, finder, follower, launcher, () => closing !== undefined),
    close,
    [Symbol.asyncDispose]: () => close(),
  })
  tellServedNames(router, {
    placeOf: servedPlaceOf,
    whenVacated: listener => vacancyListeners.push(listener),
  })
  return router

  function stats(): VhostStats {
    return collectStats(
      apps,
      table,
      launcher.staleGraphs,
      typeof settings.isolation === 'string' ? settings.isolation : null,
      closing !== undefined,
    )
  }

  function chain(listen: Listen<void>): Listen<VhostRouter> {
    return ((event: 'error', listener: () => void) => {
      listen(event, listener)
      return router
    }) as Listen<VhostRouter>
  }
}
