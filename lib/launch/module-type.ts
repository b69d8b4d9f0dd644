import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'

/**
 * What Node takes a file for without a look into it, `module` or `commonjs`: by its extension, else by `type` in the
 * nearest package.json; undefined where its syntax tells.
 */
export function moduleTypeOf(file: string): string | undefined {
  const extension = extname(file)
  if (extension === '.cjs' || extension === '.cts') return 'commonjs'
  if (extension === '.mjs' || extension === '.mts') return 'module'
  return typeAbove(dirname(file))
}

/** As Node looks for it: above the release too, and not above `node_modules`. */
function typeAbove(folder: string): string | undefined {
  if (basename(folder) === 'node_modules') return undefined
  const file = join(folder, 'package.json')
  // Asked first: there is none in most folders, and to throw costs more than all the rest.
  if (!existsSync(file)) return dirname(folder) === folder ? undefined : typeAbove(dirname(folder))
  try {
    return JSON.parse(readFileSync(file, 'utf8')).type
  } catch {
    return undefined
  }
}
