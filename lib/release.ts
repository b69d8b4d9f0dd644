import type { BigIntStats } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Entry, findEntry } from './app-entry.ts'
import { isGone, statOf, unlessGone } from './gone.ts'
import type { Settings } from './options.ts'
import { moduleNameOf } from './vhost-settings.ts'

/** What is deployed: a folder, and the version of what is in it. */
export interface Release {
  /** The vhost's folder with every symlink resolved. */
  readonly realPath: string
  /** Any value; another one by `Object.is` is another release. */
  readonly version: unknown
}

/** A release as it was read, with what makes the next reading cheap. */
export interface ReadRelease extends Release {
  readonly entry: string | undefined
  /** Tells whether the entry is to be looked for again; undefined where it always is. */
  readonly entryStamp: string | undefined
}

type ReleaseSettings = Pick<Settings, 'appDir' | 'moduleName' | 'getVersion'>

/**
 * What is deployed at a real path now; undefined where there is no app. Errors that do not mean "gone" reject.
 * `identity` tells the folder from another one that takes its place; `before` is the last reading, which saves
 * looking for the entry again.
 */
export async function readRelease(
  { realPath, identity }: { realPath: string; identity: string },
  settings: ReleaseSettings,
  before?: ReadRelease,
): Promise<ReadRelease | undefined> {
  const appFolder = join(realPath, settings.appDir)
  const app = await statOf(appFolder)
  if (!app?.isDirectory()) return undefined
  if (settings.getVersion) {
    const version = await customVersion(settings.getVersion, realPath, settings.appDir)
    return version === undefined ? undefined : { realPath, version, entry: undefined, entryStamp: undefined }
  }
  const [packageFile, releasePackageFile, restartFile, lastEntryFile] = await Promise.all([
    stampOf(join(appFolder, 'package.json')),
    settings.appDir === '.' ? '' : stampOf(join(realPath, 'package.json')),
    stampOf(join(realPath, 'tmp', 'restart.txt')),
    before?.entry === undefined ? '-' : stampOf(before.entry),
  ])
  // The package.json of the release may name the module, that of the app folder has `main`.
  const entryStamp = `${stamp(app)} ${packageFile} ${releasePackageFile}`
  const isSameEntry = before?.entryStamp === entryStamp && lastEntryFile !== '-'
  const found = isSameEntry ? undefined : await search()
  const entry = isSameEntry ? before.entry : found?.path
  const entryFile = isSameEntry ? lastEntryFile : found ? stamp(found.stats) : '-'
  if (entry === undefined && settings.appDir === '.' && (await isEmpty(realPath))) return undefined
  const version = [identity, entryStamp, entryFile, restartFile].join(' | ')
  return { realPath, version, entry, entryStamp: found?.isStandIn ? undefined : entryStamp }

  // Nothing is read of what has just been seen not to be there.
  async function search(): Promise<Entry | undefined> {
    const hasNone = (releasePackageFile || packageFile) === '-'
    const moduleName = hasNone ? settings.moduleName : await moduleNameOf(realPath, settings)
    return await findEntry(appFolder, moduleName, packageFile !== '-')
  }
}

/** Whether two readings found the same thing. */
export function isSameRelease(one: Release | undefined, other: Release | undefined): boolean {
  return one?.realPath === other?.realPath && Object.is(one?.version, other?.version)
}

async function customVersion(
  getVersion: NonNullable<ReleaseSettings['getVersion']>,
  realPath: string,
  appDir: string,
): Promise<unknown> {
  try {
    return await getVersion(realPath, appDir)
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

async function stampOf(path: string): Promise<string> {
  const stats = await statOf(path)
  return stats === undefined ? '-' : stamp(stats)
}

// The change time too: rsync puts the modification time back, and nobody can put back the change time. The inode
// tells two folders built in one tick of the clock apart.
function stamp({ dev, ino, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${mtimeNs}:${ctimeNs}`
}

async function isEmpty(folder: string): Promise<boolean> {
  return ((await unlessGone(readdir(folder))) ?? []).length === 0
}
