import { readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { extname, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { types } from 'node:util'
import { compileFunction } from 'node:vm'
import { importFor } from '../package-import.ts'
import {
  deleteRelease,
  hasImports,
  hookGenerations,
  type LoadedRelease,
  realPathOf,
  releaseAt,
  releaseOf,
  setRelease,
  withGeneration,
} from './generation-hook.ts'
import { hookRequire } from './module-paths.ts'
import { moduleTypeOf } from './module-type.ts'
import { forgetOwn, keepOwn } from './older-modules.ts'
import { forgetRequests, noteRequest } from './resolved-requests.ts'

const require = createRequire(import.meta.url)
const pathCache = (Module as unknown as { _pathCache?: Record<string, string> })._pathCache
let lastGeneration = 0

type Entry = [file: string, module: NodeJS.Module]

/** The load whose modules stand in require.cache, by real path. */
const current = new Map<string, FreshImport>()

/**
 * Loads the entry of a release with every module below the release's real path anew, whatever the module system.
 */
export class FreshImport {
  /** ES modules that CommonJS got by `require()`: Node has no way to load them anew at the same path. */
  stale: readonly string[] = []
  readonly #realPath: string
  readonly #generation = ++lastGeneration
  #before: Entry[] = []
  #previous: { modules: FreshImport; release: LoadedRelease } | undefined
  #entry: string | undefined
  #isImported = false
  #isForgotten = false

  constructor(realPath: string) {
    this.#realPath = realPath
  }

  /** Whether it has ES modules, which Node keeps for as long as the process runs. */
  get isKeptByNode(): boolean {
    return this.#isImported || hasImports(this.#generation)
  }

  /** Evaluates the entry: resolves to `module.exports` of CommonJS, to the namespace of an ES module. */
  async load(entry: string, modulePaths: readonly string[]): Promise<unknown> {
    const realPath = this.#realPath
    hookGenerations()
    hookRequire(file => releaseOf(file)?.modulePaths, noteFound)
    const modules = current.get(realPath)
    const release = releaseAt(realPath)
    this.#previous = modules && release && { modules, release }
    this.#entry = entry
    const { entries, stale } = setAside(realPath, modules !== undefined)
    this.#before = entries
    this.stale = stale
    keepAside(entries, realPath, modules)
    current.set(realPath, this)
    setRelease(realPath, { generation: this.#generation, modulePaths })
    if (isSurelyCommonJS(entry)) return createRequire(entry)(entry)
    this.#isImported = true
    return await import(withGeneration(pathToFileURL(entry).href, this.#generation))
  }

  /** Imports a package as the entry would; undefined where it finds none. */
  async importPackage(name: string): Promise<unknown> {
    if (this.#entry === undefined) return undefined
    // CommonJS is to be collected entirely, so it gets a package that Node keeps only once.
    return await importFor(this.#entry, name, url =>
      this.isKeptByNode ? withGeneration(url, this.#generation) : url,
    )
  }

  /** Settles that the load succeeded: what it replaced may go. */
  keep(): void {
    this.#before = []
    this.#previous = undefined
  }

  /**
   * Puts the modules that were there before back, after a load that failed or takes too long: the app that still
   * serves may go on requiring them.
   */
  undo(): void {
    if (this.#entry === undefined) return
    const realPath = this.#realPath
    const hasEnded = this.#previous ? this.#previous.modules.#isForgotten : false
    const previous = hasEnded ? undefined : this.#previous
    const now = current.get(realPath)
    if (now !== this && now !== previous?.modules) return
    const before = new Set(this.#before.map(([, module]) => module))
    const { entries } = setAside(realPath, true)
    const own: Entry[] = []
    const others: Entry[] = []
    // What takes too long arrives, and is undone once more: meanwhile the app that serves may have required something.
    for (const entry of entries) (isFrom(before, entry[1]) ? others : own).push(entry)
    keepAside(own, realPath, this)
    for (const [file, module] of [...others, ...(hasEnded ? [] : this.#before)]) require.cache[file] = module
    if (previous) {
      current.set(realPath, previous.modules)
      setRelease(realPath, previous.release)
    } else {
      current.delete(realPath)
      deleteRelease(realPath)
    }
  }

  /** Forgets what Node can forget, when nothing of it serves any more; not what has been loaded anew since. */
  forget(): void {
    this.#isForgotten = true
    if (current.get(this.#realPath) === this) {
      keepAside(setAside(this.#realPath, true).entries, this.#realPath, this)
      current.delete(this.#realPath)
      deleteRelease(this.#realPath)
    }
    forgetOwn(this)
  }
}

/** Whether a module is one of these, or has been required by one. */
function isFrom(modules: ReadonlySet<NodeJS.Module>, module: NodeJS.Module | null | undefined): boolean {
  return module ? modules.has(module) || isFrom(modules, module.parent) : false
}

function noteFound(file: string, folder: string, request: string): void {
  const realPath = realPathOf(file)
  if (realPath !== undefined) noteRequest(realPath, folder, request)
}

/** Takes every CommonJS and JSON module below a folder out of Node's cache. */
function setAside(realPath: string, wasLoaded: boolean): { entries: Entry[]; stale: string[] } {
  const below = realPath + sep
  const entries: Entry[] = []
  const stale: string[] = []
  for (const file of Object.keys(require.cache)) {
    if (!file.startsWith(below)) continue
    const loaded = require.cache[file]
    if (!loaded) continue
    if (types.isModuleNamespaceObject(loaded.exports)) stale.push(file)
    entries.push([file, loaded])
    delete require.cache[file]
  }
  // It is as long as all that every app has required: not gone through for what was not loaded yet.
  if (entries.length > 0 || wasLoaded) forgetPaths(realPath)
  forgetRequests(realPath)
  return { entries, stale }
}

/** Each for the release that it is of, which may be one within the other. */
function keepAside(entries: readonly Entry[], realPath: string, owner: FreshImport | undefined): void {
  const byRelease = new Map<string, Entry[]>()
  for (const entry of entries) {
    const own = realPathOf(entry[0]) ?? realPath
    const some = byRelease.get(own) ?? []
    byRelease.set(own, some)
    some.push(entry)
  }
  for (const [own, some] of byRelease) keepOwn(own === realPath ? owner : current.get(own), own, some)
}

function forgetPaths(realPath: string): void {
  const below = realPath + sep
  for (const key of Object.keys(pathCache ?? {})) {
    if (pathCache && (key.includes(below) || key.endsWith(realPath))) delete pathCache[key]
  }
}

/** What may be an ES module is left to import(), which copes with CommonJS too; the other way round it would not. */
function isSurelyCommonJS(entry: string): boolean {
  const type = moduleTypeOf(entry)
  if (type !== undefined) return type === 'commonjs'
  return extname(entry) === '.js' && compilesAsCommonJS(readFileSync(entry, 'utf8'))
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
