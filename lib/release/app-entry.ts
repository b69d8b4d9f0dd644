import type { BigIntStats } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { statOf, unlessGone } from '../files/gone.ts'
import { readSmallFile, UnfitFile } from '../files/small-file.ts'
import { parseJson } from '../values/parse-json.ts'

/** In the order in which they are tried. */
const NAMES = ['app', 'index', 'server']
const EXTENSIONS = ['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts']

/** The largest folder that is listed, in bytes: some ten thousand files. Listing a million would hold up everybody. */
export const MAX_LISTED: bigint = 2n ** 20n

interface Found {
  readonly path: string
  readonly stats: BigIntStats
}

export interface Entry extends Found {
  /** Whether it stands in for a `main` that is missing but may still arrive. */
  readonly isStandIn: boolean
}

/**
 * The module of an app folder to load: `moduleName` if given; else `main` of its package.json if Node resolves that to
 * a file; else the first of app, index and server. Undefined if there is none. `hasPackage: false` says that there is
 * no package.json to look for; `stats`, those of the folder, save a look at it.
 */
export async function findEntry(
  appFolder: string,
  moduleName: string | undefined,
  hasPackage = true,
  stats?: BigIntStats,
): Promise<Entry | undefined> {
  if (moduleName !== undefined) return entryAt(await firstOf(join(appFolder, moduleName), EXTENSIONS))
  const main = hasPackage ? await mainOf(appFolder) : undefined
  const found = main === undefined ? undefined : await resolveMain(join(appFolder, main))
  return entryAt(found) ?? entryAt(await findByName(appFolder, stats), main !== undefined)
}

/**
 * The name of the first of these that exists but is not a file, such as a pipe, which Node would wait for endlessly.
 */
export async function findNoFile(paths: readonly string[]): Promise<string | undefined> {
  const all = await Promise.all(paths.map(statOf))
  const index = all.findIndex(stats => stats && !stats.isFile())
  return index < 0 ? undefined : basename(paths[index] as string)
}

/** What was looked for in vain in an app folder, worded for an error. */
export async function lookedFor(appFolder: string, moduleName: string | undefined): Promise<string> {
  const main = moduleName === undefined ? await mainOf(appFolder) : undefined
  const mainText = main === undefined ? '' : `${main.slice(0, 100)}, the main of its package.json, and for `
  const names = moduleName === undefined ? NAMES : [moduleName]
  return `${mainText}${names.join(', ')} with ${EXTENSIONS.join(' ')}`
}

function entryAt(found: Found | undefined, isStandIn = false): Entry | undefined {
  return found && { ...found, isStandIn }
}

async function findByName(appFolder: string, known?: BigIntStats): Promise<Found | undefined> {
  const stats = known ?? (await statOf(appFolder))
  if (!stats) return undefined
  const present = stats.size <= MAX_LISTED && new Set(await unlessGone(readdir(appFolder)))
  for (const name of NAMES) {
    for (const extension of EXTENSIONS) {
      const isAbsent = present && !present.has(name + extension)
      const found = !isAbsent && (await fileAt(join(appFolder, name + extension)))
      if (found) return found
    }
  }
  return undefined
}

async function mainOf(appFolder: string): Promise<string | undefined> {
  const packageFile = join(appFolder, 'package.json')
  if (!(await fileAt(packageFile))) return undefined
  const source = await unlessGone(readSmallFile(packageFile)).catch(nothingWhereUnfit)
  return source === undefined ? undefined : parseMain(source)
}

function nothingWhereUnfit(error: unknown): undefined {
  if (!(error instanceof UnfitFile)) throw error
}

/** Resolves `main` as Node's CommonJS does: the file, the file with .js, the folder's index.js. */
async function resolveMain(path: string): Promise<Found | undefined> {
  return (await firstOf(path, ['', '.js'])) ?? (await firstOf(join(path, 'index'), ['.js']))
}

function parseMain(source: string): string | undefined {
  try {
    const { main } = parseJson(source)
    return typeof main === 'string' && main !== '' ? main : undefined
  } catch {
    // Half written, or malformed: Node reports it when the entry is loaded.
    return undefined
  }
}

async function firstOf(path: string, endings: readonly string[]): Promise<Found | undefined> {
  for (const ending of endings) {
    const found = await fileAt(join(dirname(path), basename(path) + ending))
    if (found) return found
  }
  return undefined
}

async function fileAt(path: string): Promise<Found | undefined> {
  const stats = await statOf(path)
  return stats?.isFile() ? { path, stats } : undefined
}
