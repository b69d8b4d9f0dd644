import { existsSync, statSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { internals } from './module-internals.ts'

/** Path → whether it was there, in this turn of the event loop. */
const known = new Map<string, boolean>()
/** The `node_modules` of a folder that itself lies in one. */
const OF_A_PACKAGE = /[\\/]node_modules[\\/].*[\\/]node_modules$/

/**
 * Whether a bare specifier names a package that is in none of these `node_modules`. Node 20, 24 and 26 remember that a
 * package.json was missing as long as the process runs: a package installed after a load failed for lack of it would
 * never be found. So Node must not look for what is absent.
 */
export function isAbsentPackage(specifier: string, folders: readonly string[]): boolean {
  return isBare(specifier) && !isBuiltin(specifier) && foldersWith(specifier, folders).length === 0
}

/**
 * Of these `node_modules`, nearest first, those in which Node is to look for a package: none before the first that has
 * it. Node keeps what it found by the list of folders it searched, so it searches once for all folders below the first.
 * If any were left out, the first is repeated at the end. That tells the list from the folders of a module there, by
 * which Node also keeps what that module imports of its own package.
 */
export function foldersWith(specifier: string, folders: readonly string[]): readonly string[] {
  const name = packageName(specifier)
  const first = folders.findIndex(folder => isThere(folder) && isIn(folder, name, specifier))
  if (first < 0) return []
  const rest = folders.slice(first)
  return first === 0 ? rest : [...rest, ...rest.slice(0, 1)]
}

/** Whether a specifier is looked for in `node_modules`: no path, no URL, no entry of `imports`. */
export function isBare(specifier: string): boolean {
  return !/^(\.{0,2}\/|\.{1,2}$|[a-z]+:|#)/i.test(specifier)
}

export function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

/** Every `node_modules` in which the imports of a folder may lie, the nearest one first. */
export function foldersAbove(folder: string): string[] {
  const above = dirname(folder)
  return [join(folder, 'node_modules'), ...(above === folder ? [] : foldersAbove(above))]
}

// A folder that an installation has made but not filled yet is no package. Without package.json, the file itself
// counts.
function isIn(folder: string, name: string, specifier: string): boolean {
  if (isThere(`${folder}/${name}/package.json`)) return true
  const path = join(folder, specifier)
  const endings = Object.keys(internals._extensions)
  if (existsSync(path) && (specifier !== name || isFile(path))) return true
  return endings.some(ending => existsSync(path + ending) || existsSync(join(path, `index${ending}`)))
}

/**
 * As Node itself does while a module is required, does not check twice in one turn for what was there; nor for the
 * `node_modules` that a package lacks. What an app misses, it may install in the same turn, but not into a package.
 */
function isThere(path: string): boolean {
  const before = known.get(path)
  if (before !== undefined) return before
  const found = existsSync(path)
  if (!found && !OF_A_PACKAGE.test(path)) return false
  if (known.size === 0) queueMicrotask(() => known.clear())
  known.set(path, found)
  return found
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}
