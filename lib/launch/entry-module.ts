import { type BigIntStats, realpath } from 'node:fs'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { VhostError } from '../errors.ts'
import { statOf, unlessGone } from '../files/gone.ts'
import { isBelow } from '../files/is-within.ts'
import { findEntry, findNoFile, lookedFor } from '../release/app-entry.ts'
import { internals } from './module-internals.ts'

const realPathOf = promisify(realpath.native)

export interface EntryModule {
  /** Its real path. */
  readonly path: string
  /** Changes when the file is rewritten or replaced. */
  readonly stamp: string
}

/**
 * The module of a release to load. `lastEntry`, where it was when the release was read, saves looking for it again.
 * @throws VhostError `ERR_VHOST_LOAD` if there is none, or one that may not or cannot be loaded
 */
export async function findEntryModule(
  realPath: string,
  appDir: string,
  moduleName: string | undefined,
  lastEntry?: string,
): Promise<EntryModule> {
  const known = lastEntry === undefined ? undefined : await entryAt(lastEntry)
  const { path, stats } = known ?? (await search(join(realPath, appDir), moduleName))
  // A deploy has just opened it. If it were loaded, the router would wait for it to listen.
  if (stats.size === 0n) throw failure('its entry module is empty')
  if (!isBelow(path, realPath)) throw failure('its entry module lies outside of the release')
  return { path, stamp: stampOf(stats) }
}

/**
 * `hasLoader` says whether anything but Node may strip types where the module is loaded. The default is what holds in
 * this process.
 * @throws VhostError `ERR_VHOST_LOAD` if the module is TypeScript and nothing strips its types
 */
export function expectTypesTaken(path: string, hasLoader: boolean = '.ts' in internals._extensions): void {
  const { features, versions } = process
  if (!/^\.[cm]?ts$/.test(extname(path)) || hasLoader) return
  if ((features as { typescript?: unknown }).typescript) return
  throw failure(
    `TypeScript needs Node 22.18 or newer, a loader such as tsx, or a build step; this is Node ${versions.node}`,
  )
}

/** Whether the file has been rewritten, replaced or removed since it was found. */
export async function hasChanged({ path, stamp }: EntryModule): Promise<boolean> {
  const stats = await statOf(path).catch(() => undefined)
  return stats === undefined || stampOf(stats) !== stamp
}

interface Seen {
  /** Its real path. */
  readonly path: string
  readonly stats: BigIntStats
}

async function search(appFolder: string, moduleName: string | undefined): Promise<Seen> {
  const found = await findEntry(appFolder, moduleName)
  if (found) return { path: await realPathOf(found.path), stats: found.stats }
  throw failure(`no entry module; looked for ${await lookedFor(appFolder, moduleName)}`)
}

/** Undefined if no file is there any more. */
async function entryAt(file: string): Promise<Seen | undefined> {
  const [stats, path] = await Promise.all([statOf(file), unlessGone(realPathOf(file))])
  return stats?.isFile() && path !== undefined ? { path, stats } : undefined
}

function stampOf({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino} ${size} ${mtimeNs}`
}

/**
 * Refuses a `package.json` that is no regular file. Must come before anything is read: a read from a pipe would never
 * end.
 * @throws VhostError `ERR_VHOST_LOAD`
 */
export async function refuseNoFile(realPath: string, appDir: string): Promise<void> {
  const noFile = await findNoFile([appDir, '.'].map(folder => join(realPath, folder, 'package.json')))
  if (noFile !== undefined) throw failure(`its ${noFile} is not a file`)
}

function failure(detail: string): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail })
}
