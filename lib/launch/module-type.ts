import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { compileFunction } from 'node:vm'
import { parseJson } from '../values/parse-json.ts'

/**
 * What Node takes a file for without reading it, `module` or `commonjs`: by its extension, else by `type` in the
 * nearest package.json. Undefined if its syntax decides.
 */
export function moduleTypeOf(file: string): string | undefined {
  const extension = extname(file)
  if (extension === '.cjs' || extension === '.cts') return 'commonjs'
  if (extension === '.mjs' || extension === '.mts') return 'module'
  return typeAbove(dirname(file))
}

/**
 * What may be an ES module is left to import(), which copes with CommonJS too; the reverse is not true of require().
 */
export function isSurelyCommonJS(file: string): boolean {
  const type = moduleTypeOf(file)
  if (type !== undefined) return type === 'commonjs'
  return extname(file) === '.js' && compilesAsCommonJS(readFileSync(file, 'utf8'))
}

/** Looks where Node does: above the release too, but not above `node_modules`. */
function typeAbove(folder: string): string | undefined {
  if (basename(folder) === 'node_modules') return undefined
  const file = join(folder, 'package.json')
  // Checked first: most folders have none, and throwing costs more than all the rest.
  if (!existsSync(file)) return dirname(folder) === folder ? undefined : typeAbove(dirname(folder))
  try {
    return parseJson(readFileSync(file, 'utf8')).type
  } catch {
    return undefined
  }
}

function compilesAsCommonJS(source: string): boolean {
  try {
    compileFunction(source.replace(/^#!.*/, ''), ['exports', 'require', 'module', '__filename', '__dirname'])
    return true
  } catch {
    // An ES module, or a mistake, which import() reports.
    return false
  }
}
