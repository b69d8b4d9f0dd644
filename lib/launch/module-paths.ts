import { existsSync, readFileSync } from 'node:fs'
import Module from 'node:module'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

interface Parent {
  readonly filename?: string | null
  readonly path?: string
}

interface ResolvingModule {
  _resolveFilename(request: string, parent: Parent | undefined, ...rest: unknown[]): string
  _findPath(request: string, folders: readonly string[], isMain: boolean): string | false
}

const resolving = Module as unknown as ResolvingModule
let isHooked = false

/**
 * Lets CommonJS look for packages in more folders, after Node's own search has failed. `foldersOf` tells which
 * folders the file that asks may use; `found` is told where each request of a folder led.
 */
export function hookRequire(
  foldersOf: (file: string) => readonly string[],
  found: (file: string, folder: string, request: string) => void,
): void {
  if (isHooked) return
  isHooked = true
  const original = resolving._resolveFilename
  resolving._resolveFilename = function resolveFilename(request, parent, ...rest) {
    const file = resolve(this, request, parent, rest)
    if (typeof parent?.path === 'string') found(file, parent.path, request)
    return file
  }

  function resolve(self: unknown, request: string, parent: Parent | undefined, rest: unknown[]): string {
    try {
      return Reflect.apply(original, self, [request, parent, ...rest])
    } catch (error) {
      const folders = parent?.filename && isUnfoundPackage(request, error) ? foldersOf(parent.filename) : []
      const file = folders.length > 0 && resolving._findPath(request, folders, false)
      if (!file) throw error
      return file
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
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  return folders
    .filter(folder => existsSync(join(folder, name)))
    .map(folder => candidateIn(folder, name, specifier.slice(name.length)))
}

function candidateIn(folder: string, name: string, subpath: string): [string, string | undefined] {
  // Node's own search looks into folders of this name.
  if (basename(folder) === 'node_modules')
    return [name + subpath, pathToFileURL(join(dirname(folder), '_')).href]
  const packageFile = join(folder, name, 'package.json')
  const ownName = nameWithExports(packageFile)
  // A package may import itself by its name, if it has exports: so Node itself applies them.
  if (ownName !== undefined) return [ownName + subpath, pathToFileURL(packageFile).href]
  const path = subpath === '' ? resolving._findPath(name, [folder], false) : join(folder, name + subpath)
  return [path === false ? name + subpath : pathToFileURL(path).href, undefined]
}

/** The name that a package gives itself, which is not that of its folder where it was installed as another. */
function nameWithExports(packageFile: string): string | undefined {
  try {
    const { name, exports } = JSON.parse(readFileSync(packageFile, 'utf8'))
    return exports === undefined ? undefined : name
  } catch {
    return undefined
  }
}

function isUnfoundPackage(specifier: string, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  const isBare = !/^(\.{0,2}\/|\.{1,2}$|[a-z]+:|#)/i.test(specifier)
  return isBare && (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND')
}
