import { join } from 'node:path'
import type { AppCache } from './app-cache.ts'
import { findEntry } from './app-entry.ts'
import { VhostError } from './errors.ts'
import { parseHost } from './hostname.ts'
import type { Settings } from './options.ts'
import { readRelease } from './release.ts'
import { type LastError, lastError, type PlainVersion, plainVersion, type VhostState } from './stats.ts'
import { locateVhost } from './vhost-path.ts'
import type { VhostTable } from './vhost-table.ts'

/** What a raw Host leads to, step by step; a step that was not reached is null. */
export interface VhostExplanation {
  /** As it was asked; null where the request would have no Host. */
  readonly host: string | null
  readonly hostname: string | null
  readonly vhostPath: string | null
  readonly realPath: string | null
  /** What is on disk now. */
  readonly version: PlainVersion
  readonly entry: string | null
  /** Null where nothing was loaded yet. */
  readonly state: VhostState | null
  readonly outcome: 'app' | 'no app' | 'no vhost' | 'refused'
  /** What a request would get; an app's own answer counts as 200, and what falls through as 404. */
  readonly status: number
  readonly error: LastError | null
}

/** Follows a raw Host as a request would be routed, and loads nothing. */
export async function explain(
  host: string | undefined,
  settings: Settings,
  table: VhostTable,
  apps: AppCache,
): Promise<VhostExplanation> {
  const nothing = {
    host: host ?? null,
    hostname: null,
    vhostPath: null,
    realPath: null,
    version: null,
    entry: null,
    state: null,
    outcome: 'no vhost' as const,
    status: 404,
    error: null,
  }
  if (host === undefined) return nothing
  const hostname = parseHost(host)
  if (typeof hostname !== 'string') {
    const { code, message, status } = new VhostError('ERR_VHOST_HOST', { detail: hostname.refused })
    const error = { code, message, cause: null, version: null, realPath: '' }
    return { ...nothing, outcome: 'refused', status, error }
  }
  try {
    const known = table.peek(hostname)
    const location = await locateVhost(hostname, settings)
    if (!location) return { ...nothing, hostname }
    const { vhostPath, realPath } = location
    const found = { ...nothing, hostname, vhostPath, realPath }
    const release = await readRelease(location, settings)
    if (!release) return { ...found, outcome: 'no app' }
    const entry =
      release.entry ?? (await findEntry(join(realPath, settings.appDir), settings.moduleName)) ?? null
    const app = apps.peek(known?.realPath ?? realPath)
    const failure = apps.failure(realPath)
    const isLoading = apps.isLoading(realPath)
    const state = app
      ? failure
        ? 'serving older'
        : 'serving'
      : isLoading
        ? 'loading'
        : failure
          ? 'failed'
          : null
    return {
      ...found,
      version: plainVersion(release.version),
      entry,
      state,
      outcome: 'app',
      status: app || !failure ? 200 : failure.error.status,
      error: failure ? lastError(failure) : null,
    }
  } catch (cause) {
    const { code, message } = new VhostError('ERR_VHOST_LOAD', {
      hostname,
      detail: 'its folder cannot be read',
    })
    const error = { code, message, cause: String(cause), version: null, realPath: '' }
    const isForbidden = (cause as NodeJS.ErrnoException).code === 'EACCES'
    return { ...nothing, hostname, status: isForbidden ? 404 : 500, error }
  }
}
