import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseJson } from '../values/parse-json.ts'
import { internals, type Parent } from './module-internals.ts'
import { foldersWith, isBare, packageName } from './package-folders.ts'

let isHooked = false

/**
 * Lets CommonJS look for packages in more folders after Node's own search has failed. `foldersOf` returns the folders
 * that the asking file may use, undefined if it belongs to no release. `found` is told where each request led, and
 * whether `require.resolve()` was given `paths`.
 */
export function hookRequire(
  foldersOf: (file: string) => readonly string[] | undefined,
  found: (file: string, parent: Parent, request: string, isTold: boolean) => void,
): void {
  if (isHooked) return
  isHooked = true
  const { _resolveFilename: resolveFilename, _findPath: findPath } = internals
  /** Whether Node is resolving a package for a release, without `paths` of its own. */
  let isOwn = false

  internals._resolveFilename = function resolve(request, parent, ...rest) {
    const isTold = (rest[1] as { paths?: unknown } | undefined)?.paths !== undefined
    const file = resolveOf(this, request, parent, rest, isTold)
    if (parent) found(file, parent, request, isTold)
    return file
  }

  internals._findPath = function find(request, folders, ...rest) {
    return Reflect.apply(findPath, this, [request, isOwn ? foldersWith(request, folders) : folders, ...rest])
  }

  function resolveOf(
    self: unknown,
    request: string,
    parent: Parent | undefined,
    rest: unknown[],
    isTold: boolean,
  ): string {
    const folders = parent?.filename && isBare(request) ? foldersOf(parent.filename) : undefined
    try {
      return search(folders !== undefined && !isTold, self, [request, parent, ...rest])
    } catch (error) {
      const file = folders?.length && isUnfound(error) && internals._findPath(request, folders, false)
      if (!file) throw error
      return file
    }
  }

  function search(isOwnRequest: boolean, self: unknown, args: unknown[]): string {
    // Code that hooked in before may itself require something meanwhile.
    const before = isOwn
    isOwn = isOwnRequest
    try {
      return Reflect.apply(resolveFilename, self, args)
    } finally {
      isOwn = before
    }
  }
}

/**
 * What an ES module's bare import may stand for in more folders: specifiers, each with the URL of the module that would
 * be asking. Empty if the error is another than "not found".
 */
export function candidatesBelow(
  folders: readonly string[],
  specifier: string,
  error: unknown,
): [specifier: string, parentURL: string | undefined][] {
  if (!isBare(specifier) || !isUnfound(error)) return []
  const name = packageName(specifier)
  return folders
    .filter(folder => existsSync(join(folder, name)))
    .map(folder => candidateIn(folder, name, specifier.slice(name.length)))
}

function candidateIn(folder: string, name: string, subpath: string): [string, string | undefined] {
  // Node's own search covers folders of this name.
  if (basename(folder) === 'node_modules')
    return [name + subpath, pathToFileURL(join(dirname(folder), '_')).href]
  const packageFile = join(folder, name, 'package.json')
  const ownName = nameWithExports(packageFile)
  // A package with exports may import itself by its name, so Node itself applies them.
  if (ownName !== undefined) return [ownName + subpath, pathToFileURL(packageFile).href]
  const path = subpath === '' ? internals._findPath(name, [folder], false) : join(folder, name + subpath)
  return [path === false ? name + subpath : pathToFileURL(path).href, undefined]
}

/**
 * The name that a package with exports gives itself. Its folder has another name if it was installed under an alias.
 */
export function nameWithExports(packageFile: string): string | undefined {
  try {
    const { name, exports } = parseJson(readFileSync(packageFile, 'utf8'))
    return exports === undefined ? undefined : name
  } catch {
    return undefined
  }
}

function isUnfound(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND'
}
