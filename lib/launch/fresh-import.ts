import { createRequire } from 'node:module'
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { types } from 'node:util'
import { isWithin } from '../files/is-within.ts'
import { importFor } from '../handler/package-import.ts'
import { awaitedExports } from './awaited-exports.ts'
import { noteFile, putBack, takeOut, watchCache } from './cached-modules.ts'
import { deleteRelease, endGeneration, hasImports, hookGenerations, setRelease } from './generation-hook.ts'
import { withGeneration } from './generation-url.ts'
import { hasLinked, linkedRun } from './linked-modules.ts'
import { type LoadedRelease, realPathOf, releaseAt, releaseOf } from './loaded-releases.ts'
import type { Parent } from './module-internals.ts'
import { hookRequire } from './module-paths.ts'
import { isSurelyCommonJS } from './module-type.ts'
import { keepOwn, withLoadedSince } from './older-modules.ts'
import { findPathCaches, forgetPaths } from './path-caches.ts'
import { forgetRequests, noteRequest, type Requests } from './resolved-requests.ts'
import { tellPlace } from './syntax-error-place.ts'

/**
 * Node keeps an ES module by a URL that names a generation. Another copy of this library shares Node's modules, so all
 * copies count together.
 */
const LAST_GENERATION = Symbol.for('express-van.lastGeneration')
const shared = globalThis as { [LAST_GENERATION]?: number }

/** The load whose modules are in require.cache, by real path. */
const current = new Map<string, FreshImport>()
/**
 * All loads whose apps may still ask for modules, the newest last: several routers may each have one of the same
 * folder.
 */
const live = new Map<string, Map<FreshImport, LoadedRelease>>()

/** Loads the entry of a release, with every module below the release's real path anew, whatever the module system. */
export class FreshImport {
  /** ES modules that CommonJS got by `require()`: Node cannot load them anew at the same path. */
  stale: readonly string[] = []
  /** Where the requests of its modules led that were made before the modules were put aside. */
  readonly requests: Requests = new Map()
  readonly #realPath: string
  readonly #generation = nextGeneration()
  #before: [string, NodeJS.Module][] = []
  #previous: { modules: FreshImport; release: LoadedRelease } | undefined
  /**
   * Its modules that are no longer in require.cache. They live as long as this load, as its app may require them late.
   */
  #aside: Set<NodeJS.Module> | undefined
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
    // Must come before the hooks: with them, Node 20 leaves ES modules to the hooks thread.
    findPathCaches(url => import.meta.resolve(url))
    hookGenerations()
    watchCache()
    hookRequire(file => releaseOf(file)?.modulePaths, noteFound)
    const modules = current.get(realPath)
    const release = releaseAt(realPath)
    this.#previous = modules && release && { modules, release }
    this.#entry = entry
    const { entries, stale } = setAside(realPath)
    if (modules) modules.#aside = new Set([...(modules.#aside ?? []), ...entries.map(([, module]) => module)])
    this.#before = entries
    this.stale = stale
    const own = { generation: this.#generation, modulePaths }
    live.set(realPath, (live.get(realPath) ?? new Map()).set(this, own))
    this.#become(own)
    if (isSurelyCommonJS(entry)) return await awaitedExports(createRequire(entry)(entry))
    this.#isImported = true
    try {
      return await import(withGeneration(pathToFileURL(entry).href, this.#generation))
    } catch (error) {
      await tellPlace(error, entry)
      throw error
    }
  }

  /** Imports a package as the entry would; undefined if it finds none. */
  async importPackage(name: string): Promise<unknown> {
    if (this.#entry === undefined) return undefined
    // CommonJS must be collectable as a whole, so it gets the one copy of the package that Node keeps anyway.
    return await importFor(this.#entry, name, url =>
      this.isKeptByNode ? withGeneration(url, this.#generation) : url,
    )
  }

  /** Confirms that the load succeeded: what it replaced may go. */
  keep(): void {
    this.#before = []
    this.#previous = undefined
  }

  /**
   * After a load that failed, puts back the modules that were there before: the app that still serves may go on
   * requiring them.
   */
  undo(): void {
    const now = current.get(this.#realPath)
    if (this.#entry === undefined) return
    this.#leave()
    const hasEnded = this.#previous ? this.#previous.modules.#isForgotten : false
    const previous = hasEnded ? undefined : this.#previous
    // When a load that was given up arrives, what the serving app has required since then is its own.
    if (now && now !== this) return
    setAside(this.#realPath)
    if (!hasEnded) putBack(withLoadedSince(this.#before))
    if (previous) previous.modules.#become(previous.release)
    else this.#giveWay()
  }

  /** Forgets what Node can forget, unless the release has been loaded anew since. */
  forget(): void {
    this.#isForgotten = true
    this.#leave()
    // Of a process that ends there is nothing to forget.
    if (hasLinked(this.#realPath))
      void linkedRun(this.#realPath, { ref: false }).then(() => this.#forgetModules())
    else this.#forgetModules()
  }

  #forgetModules(): void {
    if (current.get(this.#realPath) !== this) return
    setAside(this.#realPath)
    this.#giveWay()
  }

  #become(release: LoadedRelease): void {
    current.set(this.#realPath, this)
    setRelease(this.#realPath, release)
  }

  #leave(): void {
    endGeneration(this.#generation)
    const others = live.get(this.#realPath)
    others?.delete(this)
    if (others?.size === 0) live.delete(this.#realPath)
  }

  /** Gives way to the newest of the other loads, whose app goes on. */
  #giveWay(): void {
    const other = [...(live.get(this.#realPath) ?? [])].at(-1)
    if (other) {
      const [modules, release] = other
      modules.#become(release)
    } else {
      current.delete(this.#realPath)
      deleteRelease(this.#realPath)
    }
  }
}

function nextGeneration(): number {
  const generation = (shared[LAST_GENERATION] ?? 0) + 1
  shared[LAST_GENERATION] = generation
  return generation
}

function noteFound(file: string, { path, filename }: Parent, request: string, isTold: boolean): void {
  // A builtin module has no path.
  if (path === undefined || !isAbsolute(file)) return
  const asking = filename ? realPathOf(filename) : undefined
  const owner = asking !== undefined && isWithin(file, asking) ? asking : realPathOf(file)
  for (const realPath of isTold ? [] : new Set([asking, owner])) {
    if (realPath !== undefined) noteRequest(realPath, path, request, file)
  }
  // Others may define a property of the cache instead of setting it, which the watch on the cache does not see.
  noteFile(file, owner)
}

/** Takes every CommonJS and JSON module below a folder out of Node's cache. */
function setAside(realPath: string): { entries: [string, NodeJS.Module][]; stale: string[] } {
  const requests: Requests = current.get(realPath)?.requests ?? new Map()
  const entries = takeOut(realPath)
  if (entries.length > 0) keepOwn(realPath, entries, requests)
  forgetPaths()
  forgetRequests(realPath, requests)
  const stale = entries.filter(([, { exports }]) => types.isModuleNamespaceObject(exports))
  return { entries, stale: stale.map(([file]) => file) }
}
