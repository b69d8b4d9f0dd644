import type { AppCache } from '../app-cache.ts'
import { type AppFinder, isForbidden } from '../app-finder.ts'
import { unreadable, VhostError } from '../errors.ts'
import { explain, type VhostExplanation } from '../explain.ts'
import type { Follower } from '../follower.ts'
import { parseGivenHost } from '../hostname.ts'
import type { Launcher } from '../launch/launcher.ts'
import type { Settings } from '../options.ts'
import type { Release } from '../release.ts'
import type { VhostFolder } from '../vhost-info.ts'
import { locateVhost, type VhostLocation } from '../vhost-path.ts'
import type { Vhost, VhostTable } from '../vhost-table.ts'

/** What can be asked of a router for one host. */
export interface HostVerbs {
  /** What any raw Host leads to, loading nothing. */
  why(host?: string): Promise<VhostExplanation>
  /**
   * Where the folder of any raw Host lies, by the patterns that requests are routed by; loads nothing and needs no app.
   * Undefined if there is no such vhost. Rejects with `VhostError` if Host is refused or the folder cannot be read.
   */
  lookup(host: string): Promise<VhostFolder | undefined>
  /**
   * Keeps a hostname for something else in the same server: from now on it leads nowhere here, for requests, document
   * roots and upgrades alike, whatever folder or wildcard there is for it. `statusPage()` uses this. Throws a
   * `VhostError` if Host is refused.
   */
  reserve(host: string): void
  /**
   * Loads ahead of the first request. Undefined if there is no such vhost or no app in it. Rejects with `VhostError`.
   */
  load(hostname: string): Promise<Release | undefined>
  /**
   * Loads beside the app that serves, whatever the version says, and resolves after the switch. Undefined as for
   * `load`. Rejects with `VhostError`.
   */
  reload(hostname: string): Promise<Release | undefined>
}

/** The verbs of one router, which is made of these parts. */
export function hostVerbs(
  settings: Settings & { readonly reserved: Set<string> },
  table: VhostTable,
  apps: AppCache,
  finder: AppFinder,
  follower: Follower,
  launcher: Launcher,
  isClosed: () => boolean,
): HostVerbs {
  return { why, lookup, reserve, load, reload }

  async function why(host?: string): Promise<VhostExplanation> {
    const explanation = await explain(host, settings, apps, finder)
    return isClosed() && explanation.hostname !== null ? { ...explanation, status: 503 } : explanation
  }

  async function lookup(host: string): Promise<VhostFolder | undefined> {
    const hostname = expectHostname(host)
    try {
      const location = await locateVhost(hostname, settings)
      return location && folderOf(hostname, location)
    } catch (error) {
      if (isForbidden(error, undefined, settings)) return undefined
      throw unreadable(hostname, error)
    }
  }

  function reserve(host: string): void {
    const hostname = expectHostname(host)
    settings.reserved.add(hostname)
    const vhost = table.peek(hostname)
    if (vhost) follower.drop(vhost)
  }

  async function load(host: string): Promise<Release | undefined> {
    const app = await finder.find(expectOpen(host), host)
    if (!app) return undefined
    app.letGo()
    return app.release
  }

  async function reload(host: string): Promise<Release | undefined> {
    const hostname = expectOpen(host)
    const location = await locateVhost(hostname, settings).catch(() => undefined)
    // The hostname is not served from there yet: what is about to serve there, or was kept, is older than this call.
    if (location && servingOf(hostname)?.realPath !== location.realPath) {
      await apps.settle(location.realPath)
      launcher.discard(location.realPath)
      // The app there serves another hostname: once this one is led there, it is reloaded below.
      if (apps.peek(location.realPath) && !servingOf(hostname)) await load(host).catch(() => undefined)
    }
    const vhost = servingOf(hostname)
    if (vhost) {
      const app = await follower.reload(vhost)
      if (isClosed()) throw new VhostError('ERR_VHOST_CLOSED')
      // Unless the app that was to be replaced was evicted meanwhile, and its hostnames with it.
      if (servingOf(hostname)) return app?.release
    }
    if (location) apps.forgetFailure(location.realPath)
    return await load(host)
  }

  /** What is known of a hostname, if an app serves it. */
  function servingOf(hostname: string): Vhost | undefined {
    const vhost = table.peek(hostname)
    return vhost && apps.peek(vhost.realPath) && vhost
  }

  function expectOpen(host: string): string {
    if (isClosed()) throw new VhostError('ERR_VHOST_CLOSED')
    return expectHostname(host)
  }

  function expectHostname(host: string): string {
    const hostname = parseGivenHost(host)
    if (typeof hostname === 'string') return hostname
    throw new VhostError('ERR_VHOST_HOST', { detail: hostname.refused })
  }
}

function folderOf(hostname: string, { vhostPath: path, realPath, isExact }: VhostLocation): VhostFolder {
  return { hostname, path, realPath, isExact }
}
