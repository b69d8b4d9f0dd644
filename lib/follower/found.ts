import type { Settings } from '../options.ts'
import { type ReadRelease, readRelease } from '../release.ts'
import { locateVhost, type VhostLocation } from '../vhost-path.ts'
import type { Vhost } from '../vhost-table.ts'

/** What was found on disk for a hostname. */
export interface Found extends VhostLocation {
  readonly release: ReadRelease
}

/** What a hostname leads to now; undefined if nothing is there. Rejects if the disk cannot tell. */
export async function readFound(
  { hostname, lastRead }: Vhost,
  settings: Settings,
): Promise<Found | undefined> {
  const location = await locateVhost(hostname, settings, true)
  const release = location && (await readRelease(location, settings, lastRead))
  return location && release && { ...location, release }
}

/** Whether a hostname still leads there after a load: a release that was taken back meanwhile must not serve. */
export async function leadsStill(
  hostname: string,
  { realPath }: Found,
  settings: Settings,
): Promise<boolean> {
  try {
    return (await locateVhost(hostname, settings, true))?.realPath === realPath
  } catch {
    // If the disk cannot tell, the earlier reading stands.
    return true
  }
}
