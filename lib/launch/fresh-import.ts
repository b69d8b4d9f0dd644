import { readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname, extname, join, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { types } from 'node:util'
import { compileFunction } from 'node:vm'
import {
  deleteRelease,
  hookGenerations,
  type LoadedRelease,
  releaseAt,
  releaseOf,
  setRelease,
  withGeneration,
} from './generation-hook.ts'
import { hookModulePaths } from './module-paths.ts'

const require = createRequire(import.meta.url)
const pathCache = (Module as unknown as { _pathCache?: Record<string, string> })._pathCache
let lastGeneration = 0

/** The generation whose modules stand in require.cache, by real path. */
const current = new Map<string, number>()

/** CommonJS files that an ES module imported, by real path of the release. */
const importedCommonJS = new Map<string, Set<string>>()

/**
 * Loads the entry of a release with every module below the release's real path anew, whatever the module system.
 */
export class FreshImport {
  /** An ES module graph, which Node keeps for as long as the process runs. */
  isKeptByNode = false
  /** ES modules that CommonJS got by `require()`: Node has no way to load them anew at the same path. */
  stale: readonly string[] = []
  readonly #realPath: string
  readonly #generation = ++lastGeneration
  #before: [string, NodeJS.Module][] = []
  #previous: { generation: number; release: LoadedRelease } | undefined
  #isBegun = false

  constructor(realPath: string) {
    this.#realPath = realPath
  }

  /** Evaluates the entry: resolves to `module.exports` of CommonJS, to the namespace of an ES module. */
  async load(entry: string, modulePaths: readonly string[]): Promise<unknown> {
    const realPath = this.#realPath
    hookGenerations()
    if (modulePaths.length > 0) hookModulePaths(file => releaseOf(file)?.modulePaths ?? [])
    const generation = current.get(realPath)
    const release = releaseAt(realPath)
    this.#previous = generation !== undefined && release ? { generation, release } : undefined
    this.#isBegun = true
    const { entries, stale } = setAside(realPath)
    this.#before = entries
    this.stale = stale
    current.set(realPath, this.#generation)
    setRelease(realPath, { generation: this.#generation, modulePaths })
    if (isSurelyCommonJS(entry)) return createRequire(entry)(entry)
    this.isKeptByNode = true
    requireAgain(realPath)
    return await import(withGeneration(pathToFileURL(entry).href, this.#generation))
  }

  /** Settles that the load succeeded: what it replaced may go. */
  keep(): void {
    this.#before = []
    this.#previous = undefined
  }

  /**
   * Puts the modules that were there before back, after a load that failed: the app that still serves may go on
   * requiring them.
   */
  undo(): void {
    const now = current.get(this.#realPath)
    if (!this.#isBegun) return
    if (now !== this.#generation && now !== this.#previous?.generation) return
    setAside(this.#realPath)
    for (const [file, loaded] of this.#before) require.cache[file] = loaded
    if (this.#previous) {
      current.set(this.#realPath, this.#previous.generation)
      setRelease(this.#realPath, this.#previous.release)
    } else {
      current.delete(this.#realPath)
      deleteRelease(this.#realPath)
    }
  }

  /** Forgets what Node can forget, unless the release has been loaded anew since. */
  forget(): void {
    if (current.get(this.#realPath) !== this.#generation) return
    setAside(this.#realPath)
    current.delete(this.#realPath)
    deleteRelease(this.#realPath)
  }
}

/** Takes every CommonJS and JSON module below a folder out of Node's cache. */
function setAside(realPath: string): { entries: [string, NodeJS.Module][]; stale: string[] } {
  const below = realPath + sep
  const entries: [string, NodeJS.Module][] = []
  const stale: string[] = []
  for (const file of Object.keys(require.cache)) {
    const loaded = require.cache[file]
    if (!loaded || !file.startsWith(below)) continue
    if (types.isModuleNamespaceObject(loaded.exports)) stale.push(file)
    else if (isImported(loaded)) noteImported(realPath, file)
    entries.push([file, loaded])
    delete require.cache[file]
  }
  for (const key of Object.keys(pathCache ?? {})) {
    if (pathCache && (key.includes(below) || key.endsWith(realPath))) delete pathCache[key]
  }
  return { entries, stale }
}

// A module that an ES module imported has no parent; one that was required has.
function isImported(loaded: NodeJS.Module): boolean {
  return (loaded as { parent?: unknown }).parent === undefined && extname(loaded.filename) !== '.json'
}

function noteImported(realPath: string, file: string): void {
  const files = importedCommonJS.get(realPath) ?? new Set()
  importedCommonJS.set(realPath, files.add(file))
}

/**
 * After a purge Node gives `{}` to an ES module that imports a CommonJS file which re-exports another, unless that
 * file is loaded already: seen on Node 20, 22, 24 and 26.
 */
function requireAgain(realPath: string): void {
  for (const file of importedCommonJS.get(realPath) ?? []) {
    try {
      createRequire(file)(file)
    } catch {
      // Gone, or broken: where it is still needed, import() says so.
    }
  }
}

/** What may be an ES module is left to import(), which copes with CommonJS too; the other way round it would not. */
function isSurelyCommonJS(entry: string): boolean {
  const extension = extname(entry)
  if (extension === '.cjs' || extension === '.cts') return true
  if (extension === '.mjs' || extension === '.mts') return false
  const type = typeAbove(dirname(entry))
  if (type !== undefined) return type === 'commonjs'
  return extension === '.js' && compilesAsCommonJS(readFileSync(entry, 'utf8'))
}

/** `type` of the nearest package.json, as Node looks for it: above the release too. */
function typeAbove(folder: string): string | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).type
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (isAbsent && dirname(folder) !== folder) return typeAbove(dirname(folder))
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
