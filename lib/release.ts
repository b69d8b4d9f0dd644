import { type BigIntStats, realpath, stat } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { identityOf, isGone, NO_ERROR, statOf, unlessGone } from './files/gone.ts'
import type { Settings } from './options.ts'
import { type Entry, findEntry } from './release/app-entry.ts'
import { moduleNameOf } from './vhost-settings.ts'

/** What is deployed: a folder, and the version of what is in it. */
export interface Release {
  /** The vhost's folder with every symlink resolved. */
  readonly realPath: string
  /** Any value; one that differs by `Object.is` means another release. */
  readonly version: unknown
}

/** A release as it was read, with what makes the next reading cheap. */
export interface ReadRelease extends Release {
  readonly entry: string | undefined
  /** Tells whether the entry must be looked for again; undefined if it always must. */
  readonly entryStamp: string | undefined
}

/**
 * How long a coarse clock, such as that of ext3 or sshfs, shows the same time, in milliseconds; FAT's is the slowest.
 */
const TICK = 2000
/** Ends the stamp of a file that has changed within the tick. */
const FRESH = 'fresh'

type ReleaseSettings = Pick<Settings, 'appDir' | 'moduleName' | 'getVersion' | 'user'>

/**
 * What is deployed at a real path now; undefined if there is no app. Errors that do not mean "gone" reject. `identity`
 * tells the folder from another one that takes its place; `before` is the last reading, which saves looking for the
 * entry again.
 */
export async function readRelease(
  { realPath, identity }: { realPath: string; identity: string },
  settings: ReleaseSettings,
  before?: ReadRelease,
): Promise<ReadRelease | undefined> {
  const appFolder = join(realPath, settings.appDir)
  const app = await statOf(appFolder)
  if (!app?.isDirectory()) return undefined
  const isBare = (): Promise<boolean> | false => settings.appDir === '.' && isEmpty(realPath)
  if (settings.getVersion) {
    if (await isBare()) return undefined
    const version = await customVersion(settings.getVersion, realPath, settings.appDir)
    return version === undefined ? undefined : { realPath, version, entry: undefined, entryStamp: undefined }
  }
  const [packageFile, releasePackageFile, restartFile, lastEntryFile] = await Promise.all([
    stampOf(join(appFolder, 'package.json')),
    settings.appDir === '.' ? '' : stampOf(join(realPath, 'package.json')),
    stampOf(restartFileOf(realPath)),
    before?.entry === undefined ? '-' : stampOf(before.entry),
  ])
  const entryStamp = entryStampOf(app, packageFile, releasePackageFile)
  const isSameEntry = before?.entryStamp === entryStamp && lastEntryFile !== '-'
  const found = isSameEntry ? undefined : await search()
  const entry = isSameEntry ? before.entry : found?.path
  const entryFile = isSameEntry ? lastEntryFile : found ? stamp(found.stats) : '-'
  if (entry === undefined && (await isBare())) return undefined
  const version = versionOf(identity, entryStamp, entryFile, restartFile)
  // If the version will change by time alone, no watch tells of that.
  const isPassing = found?.isStandIn || version.includes(FRESH)
  return { realPath, version, entry, entryStamp: isPassing ? undefined : entryStamp }

  // Does not read a package.json that has just been found missing.
  async function search(): Promise<Entry | undefined> {
    const hasNone = (releasePackageFile || packageFile) === '-'
    const moduleName = hasNone ? settings.moduleName : await moduleNameOf(realPath, settings)
    return await findEntry(appFolder, moduleName, packageFile !== '-', app)
  }
}

/**
 * Whether a vhost path still leads to a release as it was last read. Looks at everything that decides this at once,
 * which usually is all there is to do. False says only that the release must be read again, for instance after a disk
 * error. Not to be used with `getVersion`.
 */
export function isUnchanged(
  { realPath, version, entry, entryStamp }: ReadRelease,
  vhostPath: string,
  { appDir }: Pick<Settings, 'appDir'>,
): Promise<boolean> {
  if (entry === undefined || entryStamp === undefined) return Promise.resolve(false)
  const appFolder = join(realPath, appDir)
  const places = [realPath, appFolder, join(appFolder, 'package.json'), restartFileOf(realPath), entry]
  if (appDir !== '.') places.push(join(realPath, 'package.json'))
  const found: (BigIntStats | undefined)[] = []
  let left = places.length
  return new Promise(resolve => {
    // This one goes first and alone: if a mount hangs, it takes one of the four file-system threads, not all.
    realpath.native(vhostPath, (error, path) => {
      if (error || path !== realPath) return resolve(false)
      for (const [index, place] of places.entries()) {
        stat(place, { bigint: true, ...NO_ERROR }, (error, stats) => {
          if (error && !isGone(error)) return resolve(false)
          found[index] = error ? undefined : stats
          if (--left === 0) resolve(version === versionNow())
        })
      }
    })
  })

  function versionNow(): string | undefined {
    const [folder, app, packageFile, restartFile, entryFile, releasePackageFile] = found
    if (!folder || !app) return undefined
    const now = entryStampOf(app, stamp(packageFile), appDir === '.' ? '' : stamp(releasePackageFile))
    return versionOf(identityOf(folder), now, stamp(entryFile), stamp(restartFile))
  }
}

/** Whether two readings found the same release. */
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
    // To reject with nothing does not say that nothing is there.
    throw error ?? new Error('getVersion() rejected with nothing')
  }
}

async function stampOf(path: string): Promise<string> {
  return stamp(await statOf(path))
}

// By join(), here and below: a template literal stays in memory as the tree of its parts.
function versionOf(identity: string, entryStamp: string, entryFile: string, restartFile: string): string {
  return [identity, entryStamp, entryFile, restartFile].join(' | ')
}

// The package.json of the release may name the module; that of the app folder has `main`.
function entryStampOf(app: BigIntStats, packageFile: string, releasePackageFile: string): string {
  return [stamp(app), packageFile, releasePackageFile].join(' ')
}

// With the change time: rsync puts the modification time back, but nobody can put back the change time. The inode tells
// apart two folders built in one tick of the clock.
function stamp(stats: BigIntStats | undefined): string {
  if (!stats) return '-'
  const parts: unknown[] = [stats.dev, stats.ino, stats.mtimeNs, stats.ctimeNs]
  if (isFresh(stats)) parts.push(FRESH)
  return parts.join(':')
}

/** Whether the file system keeps whole seconds, so that another change may still get the same time. */
function isFresh({ ctimeNs }: BigIntStats): boolean {
  return ctimeNs % 1_000_000_000n === 0n && Date.now() - Number(ctimeNs / 1_000_000n) < TICK
}

function restartFileOf(realPath: string): string {
  return join(realPath, 'tmp', 'restart.txt')
}

/** Whether nothing is in a folder, or there is no such folder. */
export async function isEmpty(folder: string): Promise<boolean> {
  const entries = await unlessGone(opendir(folder))
  if (!entries) return true
  const first = await entries.read()
  await entries.close()
  return first === null
}
