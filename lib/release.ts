import type { BigIntStats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { findEntry } from './app-entry.ts'
import { isGone, unlessGone } from './gone.ts'
import type { Settings } from './options.ts'

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
  readonly entryStamp: string
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
    return version === undefined ? undefined : { realPath, version, entry: undefined, entryStamp: '' }
  }
  const packageFile = await stampOf(join(appFolder, 'package.json'))
  const entryStamp = `${stamp(app)} ${packageFile}`
  let entry = before?.entryStamp === entryStamp ? before.entry : undefined
  let entryFile = entry === undefined ? '-' : await stampOf(entry)
  if (entryFile === '-') {
    entry = await findEntry(appFolder, settings.moduleName)
    entryFile = entry === undefined ? '-' : await stampOf(entry)
  }
  if (entry === undefined && settings.appDir === '.' && (await isEmpty(realPath))) return undefined
  const version = [
    identity,
    entryStamp,
    entryFile,
    settings.appDir === '.' ? '' : await stampOf(join(realPath, 'package.json')),
    await stampOf(join(realPath, 'tmp', 'restart.txt')),
  ].join(' | ')
  return { realPath, version, entry, entryStamp }
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

async function statOf(path: string): Promise<BigIntStats | undefined> {
  return await unlessGone(stat(path, { bigint: true }))
}

// The change time too: rsync puts the modification time back, and nobody can put back the change time. The inode
// tells two folders built in one tick of the clock apart.
function stamp({ dev, ino, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${mtimeNs}:${ctimeNs}`
}

async function isEmpty(folder: string): Promise<boolean> {
  return ((await unlessGone(readdir(folder))) ?? []).length === 0
}
