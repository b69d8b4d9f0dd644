import { readFileSync } from 'node:fs'
import Module from 'node:module'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

interface ResolvingModule {
  _resolveFilename(
    request: string,
    parent: { filename?: string | null } | undefined,
    ...rest: unknown[]
  ): string
  _findPath(request: string, folders: readonly string[], isMain: boolean): string | false
}

const resolving = Module as unknown as ResolvingModule
let isHooked = false

/**
 * Lets CommonJS look for packages in more folders, after Node's own search has failed. `foldersOf` tells which
 * folders the file that asks may use.
 */
export function hookModulePaths(foldersOf: (file: string) => readonly string[]): void {
  if (isHooked) return
  isHooked = true
  const original = resolving._resolveFilename
  resolving._resolveFilename = function resolveFilename(request, parent, ...rest) {
    try {
      return Reflect.apply(original, this, [request, parent, ...rest])
    } catch (error) {
      const folders = parent?.filename && isUnfoundPackage(request, error) ? foldersOf(parent.filename) : []
      const found = folders.length > 0 && resolving._findPath(request, folders, false)
      if (!found) throw error
      return found
    }
  }
}

/**
 * What an ES module's bare import may stand for in more folders: specifiers, each with the URL of the module that
 * would be asking. None where the error is another than "not found".
 */
export function candidatesBelow(
  folders: readonly string[],
  specifier: string,
  error: unknown,
): [specifier: string, parentURL: string | undefined][] {
  if (!isUnfoundPackage(specifier, error)) return []
  return folders.map(folder => {
    // Node's own search looks into folders of this name.
    if (basename(folder) === 'node_modules')
      return [specifier, pathToFileURL(join(dirname(folder), '_')).href]
    return candidateIn(folder, specifier)
  })
}

function candidateIn(folder: string, specifier: string): [string, string | undefined] {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  const packageFile = join(folder, name, 'package.json')
  // A package may import itself by its name, if it has exports: so Node itself applies them.
  if (hasExports(packageFile)) return [specifier, pathToFileURL(packageFile).href]
  const subpath = specifier.slice(name.length + 1)
  const path = subpath === '' ? resolving._findPath(name, [folder], false) : join(folder, specifier)
  return [path === false ? specifier : pathToFileURL(path).href, undefined]
}

function hasExports(packageFile: string): boolean {
  try {
    return JSON.parse(readFileSync(packageFile, 'utf8')).exports !== undefined
  } catch {
    return false
  }
}

function isUnfoundPackage(specifier: string, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  const isBare = !/^(\.{0,2}\/|\.{1,2}$|[a-z]+:|#)/i.test(specifier)
  return isBare && (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND')
}
