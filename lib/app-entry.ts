import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { unlessGone } from './gone.ts'

/** In the order in which they are tried. */
const NAMES = ['app', 'index', 'server']
const EXTENSIONS = ['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts']

export interface Entry {
  readonly path: string
  /** Whether it stands in for a `main` that is not there, and may come. */
  readonly isStandIn: boolean
}

/**
 * The module of an app folder that is loaded: `moduleName` where given; else `main` of its package.json where Node
 * resolves it to a file; else the first of app, index and server. Undefined where there is none.
 */
export async function findEntry(
  appFolder: string,
  moduleName: string | undefined,
): Promise<Entry | undefined> {
  if (moduleName !== undefined) return entryAt(await firstOf(join(appFolder, moduleName), EXTENSIONS))
  const main = await mainOf(appFolder)
  const path = main === undefined ? undefined : await resolveMain(join(appFolder, main))
  return entryAt(path) ?? entryAt(await findByName(appFolder), main !== undefined)
}

/** The first of these files that is there but is none, such as a pipe, which Node would wait for for ever. */
export async function findNoFile(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const stats = await unlessGone(stat(path))
    if (stats && !stats.isFile()) return basename(path)
  }
  return undefined
}

/** What was looked for, in words for an error. */
export function entryNames(moduleName: string | undefined): string {
  const names = moduleName === undefined ? NAMES : [basename(moduleName)]
  return `${names.join(', ')} with ${EXTENSIONS.join(' ')}`
}

function entryAt(path: string | undefined, isStandIn = false): Entry | undefined {
  return path === undefined ? undefined : { path, isStandIn }
}

async function findByName(appFolder: string): Promise<string | undefined> {
  const present = new Set(await unlessGone(readdir(appFolder)))
  for (const name of NAMES) {
    for (const extension of EXTENSIONS) {
      const path = join(appFolder, name + extension)
      if (present.has(name + extension) && (await isFile(path))) return path
    }
  }
  return undefined
}

async function mainOf(appFolder: string): Promise<string | undefined> {
  const packageFile = join(appFolder, 'package.json')
  // A pipe would be waited for for ever.
  const source = (await isFile(packageFile)) ? await unlessGone(readFile(packageFile, 'utf8')) : undefined
  return source === undefined ? undefined : parseMain(source)
}

/** As Node's CommonJS resolves a folder: the file, the file with .js, the folder's index.js. */
async function resolveMain(path: string): Promise<string | undefined> {
  return (await firstOf(path, ['', '.js'])) ?? (await firstOf(join(path, 'index'), ['.js']))
}

function parseMain(source: string): string | undefined {
  try {
    const { main } = JSON.parse(source)
    return typeof main === 'string' && main !== '' ? main : undefined
  } catch {
    // Half written, or wrong: Node says so when the entry is loaded.
    return undefined
  }
}

async function firstOf(path: string, endings: readonly string[]): Promise<string | undefined> {
  for (const ending of endings) {
    const candidate = join(dirname(path), basename(path) + ending)
    if (await isFile(candidate)) return candidate
  }
  return undefined
}

async function isFile(path: string): Promise<boolean> {
  return (await unlessGone(stat(path)))?.isFile() ?? false
}
