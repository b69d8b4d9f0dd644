import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { generationIn, withoutGeneration } from './generation-url.ts'
import { moduleTypeOf } from './module-type.ts'

/** The module that imports. */
interface Importer {
  readonly url: string
  readonly file: string
  readonly generation: string
}

const require = createRequire(import.meta.url)
/** What was imported once for all generations: plain URL → the generation that imported it. */
const importedOnce = new Map<string, string>()

/**
 * Whether the module at a URL is imported once in the life of the process, however often the release is loaded, and so
 * does not grow memory. It must be of the same package as its importer. The importer must be an ES module that was
 * reached by `require()`, as in packages with both module systems, or that was itself imported by such a module. What a
 * module imports after it has run is imported anew, and so is what a package imports that could not be linked.
 */
export function isImportedOnce(url: string, importer: Importer): boolean {
  const { file, generation } = importer
  const folder = url.startsWith('file:') ? packageFolderOf(file) : undefined
  if (folder === undefined || packageFolderOf(fileURLToPath(url)) !== folder) return false
  if (!isLinkedOnce(importer)) return false
  if (!importedOnce.has(url)) importedOnce.set(url, generation)
  return importedOnce.get(url) === generation
}

function isLinkedOnce({ url, file, generation }: Importer): boolean {
  if (generationIn(url) !== undefined) return importedOnce.get(withoutGeneration(url)) === generation
  return require.cache[file]?.loaded === false && moduleTypeOf(file) === 'module'
}

function packageFolderOf(file: string): string | undefined {
  return /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(file)?.[0]
}
