import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { nameWithExports } from './module-paths.ts'
import { foldersAbove, isAbsentPackage, packageName } from './package-folders.ts'

/**
 * Throws Node's own error if a package that a file imports is absent. Node itself would remember the absence for ever.
 */
export function expectPackage(specifier: string, file: string): void {
  if (!isAbsentPackage(specifier, foldersAbove(dirname(file)))) return
  const name = packageName(specifier)
  if (ownName(dirname(file)) === name) return
  const error = new Error(`Cannot find package '${name}' imported from ${file}`)
  throw Object.assign(error, { code: 'ERR_MODULE_NOT_FOUND' })
}

/** The name by which the modules of a folder may import their own package. */
function ownName(folder: string): string | undefined {
  const packageFile = join(folder, 'package.json')
  if (existsSync(packageFile)) return nameWithExports(packageFile)
  return dirname(folder) === folder ? undefined : ownName(dirname(folder))
}
