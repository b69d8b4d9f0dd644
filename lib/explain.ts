import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { domainToASCII } from 'node:url'
import type { App } from './app.ts'
import type { Failure } from './app-cache/failures.ts'
import type { AppCache } from './app-cache.ts'
import { type AppFinder, isForbidden } from './app-finder.ts'
import { unreadable, VhostError } from './errors.ts'
import { isNearName } from './explain/near-name.ts'
import { statOf } from './files/gone.ts'
import { parseGivenHost } from './hostname.ts'
import { expectTypesTaken, findEntryModule, refuseNoFile } from './launch/entry-module.ts'
import { isolationOf } from './launch/isolation.ts'
import { shown } from './options/option-error.ts'
import type { Settings } from './options.ts'
import { findEntry, MAX_LISTED } from './release/app-entry.ts'
import { readRelease } from './release.ts'
import { type LastError, lastError, type PlainVersion, plainVersion, type VhostState } from './stats.ts'
import { causeOf, stackOf } from './values/thrown.ts'
import { locateVhost, type VhostLocation } from './vhost-path.ts'
import { moduleNameOf, notesOf, readVhostSettings } from './vhost-settings.ts'

/** What a raw Host leads to, step by step; a step that was not reached is null. */
export interface VhostExplanation {
  /** As it was given; null if the request would have no Host. */
  readonly host: string | null
  readonly hostname: string | null
  /** The rule that the host breaks, in words; null if it breaks none. */
  readonly refusal: string | null
  /** The patterns of `vhostDir` in order, up to the one that leads to a folder. */
  readonly patterns: readonly string[]
  readonly vhostPath: string | null
  readonly realPath: string | null
  /** What is on disk now. */
  readonly version: PlainVersion
  readonly entry: string | null
  /** Null if nothing has been loaded yet. */
  readonly state: VhostState | null
  readonly outcome: 'app' | 'no app' | 'no vhost' | 'refused'
  /** What a request would get: 200 stands for the app's own answer, 404 for a request that falls through. */
  readonly status: number
  readonly error: LastError | null
  /** The names of the environment variables that the app wrote while it loaded: its neighbours see them. */
  readonly environmentWrites: readonly string[]
  /**
   * What is odd, in words: an unknown setting in the vhost's package.json, a missing base path or app folder, an app
   * whose release is no longer on disk, or a folder whose name no request asks for.
   */
  readonly notes: readonly string[]
}

/** Follows a raw Host as a request would be routed, but loads nothing. */
export async function explain(
  host: string | undefined,
  settings: Settings,
  apps: AppCache,
  finder: AppFinder,
): Promise<VhostExplanation> {
  const found = await follow(host, settings, apps, finder)
  const { hostname } = found
  if (hostname === null || settings.reserved?.has(hostname)) return found
  const served = await finder.servedPlace(hostname)
  const app = served && apps.peek(served.realPath)
  if (found.outcome === 'app' || !app) return found
  // The app that serves goes on when the disk fails, and until a missing release has been seen gone for good.
  const { environmentWrites } = app
  const notes = found.error
    ? found.notes
    : [...found.notes, 'no app is there now; the one that is loaded serves on']
  const state = found.error || finder.isFaulty(hostname) ? 'serving older' : 'serving'
  return { ...found, environmentWrites, notes, state, outcome: 'app', status: 200 }
}

async function follow(
  host: string | undefined,
  settings: Settings,
  apps: AppCache,
  finder: AppFinder,
): Promise<VhostExplanation> {
  const nothing = {
    host: host ?? null,
    hostname: null,
    refusal: null,
    patterns: [],
    vhostPath: null,
    realPath: null,
    version: null,
    entry: null,
    state: null,
    outcome: 'no vhost' as const,
    status: 404,
    error: null,
    environmentWrites: [],
    notes: [],
  }
  if (host === undefined) return nothing
  const hostname = parseGivenHost(host)
  if (typeof hostname !== 'string') {
    const error = new VhostError('ERR_VHOST_HOST', { detail: hostname.refused })
    const { refused: refusal } = hostname
    const notes = asciiNotes(host)
    return {
      ...nothing,
      refusal,
      outcome: 'refused',
      status: error.status,
      error: untriedError(error),
      notes,
    }
  }
  if (settings.reserved?.has(hostname))
    return { ...nothing, hostname, notes: ['the name is reserved: no vhost has it'] }
  const all = settings.getVhostPath ? ['getVhostPath()'] : settings.vhostPatterns.map(({ text }) => text)
  const named = { ...nothing, hostname, patterns: all }
  let location: VhostLocation | undefined
  try {
    location = await locateVhost(hostname, settings)
    if (!location) return { ...named, notes: await basePathNotes(hostname, settings) }
    const { vhostPath, realPath, skipped } = location
    const found = { ...named, patterns: all.slice(0, skipped + 1), vhostPath, realPath }
    const release = await readRelease(location, settings)
    if (!release) return { ...found, outcome: 'no app', notes: await appFolderNotes(realPath, settings) }
    const entry = release.entry ?? (await entryOf(realPath, settings))
    const { refused, notes } = await foreseen(realPath, settings, apps)
    const served = await finder.servedPlace(hostname)
    const app = served && apps.peek(served.realPath)
    const failure = apps.failure(realPath)
    return {
      ...found,
      version: plainVersion(release.version),
      entry,
      state: stateOf(app, failure, apps.isLoading(realPath)),
      outcome: 'app',
      status: app ? 200 : (failure?.error.status ?? refused?.status ?? 200),
      error: failure ? lastError(failure) : refused && !app ? untriedError(refused) : null,
      environmentWrites: app?.environmentWrites ?? [],
      notes,
    }
  } catch (cause) {
    const error = unreadable(hostname, cause)
    if (isForbidden(cause, location, settings)) return { ...named, error: untriedError(error) }
    const { vhostPath = null, realPath = null, skipped = all.length } = location ?? {}
    const patterns = all.slice(0, skipped + 1)
    return { ...named, patterns, vhostPath, realPath, status: error.status, error: untriedError(error) }
  }
}

/** The hostname that browsers ask for when a name has letters other than a to z. */
function asciiNotes(host: unknown): string[] {
  const asked =
    typeof host === 'string' && /[\u0080-\uffff]/.test(host) && domainToASCII(host.replace(/:\d+$/, ''))
  return asked ? [`browsers ask for '${asked}'`] : []
}

/** With `getVhostPath` the base path need not exist. */
async function basePathNotes(
  hostname: string,
  { basePath, getVhostPath, vhostPatterns }: Settings,
): Promise<string[]> {
  if (getVhostPath) return []
  const stats = await statOf(basePath)
  if (!stats) return [`there is no folder at basePath, ${basePath}`]
  const bearsName = vhostPatterns.some(({ text }) => /^%0(?:\/|$)/.test(text))
  if (!bearsName || stats.size > MAX_LISTED) return []
  // We may be allowed to enter the folder but not to list it.
  const names = await readdir(basePath).catch((): string[] => [])
  if (names.includes(hostname)) return [await deadEndNote(hostname, basePath, vhostPatterns)]
  const meant = names.find(name => isHostname(name) && isNearName(name, hostname))
  return names
    .filter(name => !isHostname(name) && domainToASCII(name) === hostname)
    .map(name => `the folder ${shown(name)} is not asked for: browsers ask for '${hostname}'`)
    .concat(meant === undefined ? [] : `did you mean '${meant}'?`)
}

/** The note for a hostname whose folder is there but leads to no vhost. */
async function deadEndNote(
  hostname: string,
  basePath: string,
  patterns: Settings['vhostPatterns'],
): Promise<string> {
  const paths = patterns.map(pattern => pattern.pathOf(hostname)).filter(path => path !== undefined)
  for (const path of paths) {
    // By lstat: a link that leads nowhere is there, too.
    const isThere = await lstat(join(basePath, path)).catch(() => undefined)
    if (isThere) return `${path} is there, but leads to no vhost`
  }
  return `there is no ${paths.join(', nor ')}`
}

function isHostname(name: string): boolean {
  return /^[a-z\d_][a-z\d_.-]*$/.test(name)
}

/** A vhost without an app is not odd, unless whoever asks expected one. */
async function appFolderNotes(realPath: string, { appDir }: Settings): Promise<string[]> {
  const isThere = (await statOf(join(realPath, appDir)))?.isDirectory() === true
  return isThere ? [] : [`there is no folder '${appDir}' in it`]
}

async function entryOf(realPath: string, settings: Settings): Promise<string | null> {
  const moduleName = await moduleNameOf(realPath, settings)
  return (await findEntry(join(realPath, settings.appDir), moduleName))?.path ?? null
}

/** Why a load would fail before any of the app's code runs, if it would, and the notes on the vhost's settings. */
async function foreseen(
  realPath: string,
  settings: Settings,
  apps: AppCache,
): Promise<{ refused?: VhostError; notes: string[] }> {
  let notes: string[] = []
  try {
    await refuseNoFile(realPath, settings.appDir)
    const isolation = isolationOf(realPath, await readVhostSettings(realPath, settings), settings)
    notes = await notesOf(realPath, settings)
    const { path } = await findEntryModule(realPath, settings.appDir, await moduleNameOf(realPath, settings))
    if (isolation === 'none') expectTypesTaken(path)
    apps.expectRoom(realPath)
    return { notes }
  } catch (error) {
    if (error instanceof VhostError) return { refused: error, notes }
    throw error
  }
}

function stateOf(app: App | undefined, failure: Failure | undefined, isLoading: boolean): VhostState | null {
  if (app) return failure ? 'serving older' : 'serving'
  if (isLoading) return 'loading'
  return failure ? 'failed' : null
}

/** The error of a release that was only looked at, not tried. */
function untriedError({ code, message, cause }: VhostError): LastError {
  return {
    code,
    message,
    cause: causeOf(cause),
    stack: stackOf(cause),
    since: null,
    version: null,
    realPath: null,
  }
}
