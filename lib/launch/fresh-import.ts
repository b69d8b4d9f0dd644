import { createRequire } from 'node:module'
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { types } from 'node:util'
import { isWithin } from '../is-within.ts'
import { importFor } from '../package-import.ts'
import { noteFile, putBack, takeOut, watchCache } from './cached-modules.ts'
import {
  deleteRelease,
  endGeneration,
  hasImports,
  hookGenerations,
  type LoadedRelease,
  realPathOf,
  releaseAt,
  releaseOf,
  setRelease,
} from './generation-hook.ts'
import { withGeneration } from './generation-url.ts'
import { hasLinked, linkedRun } from './linked-modules.ts'
import type { Parent } from './module-internals.ts'
import { hookRequire } from './module-paths.ts'
import { isSurelyCommonJS } from './module-type.ts'
import { keepOwn } from './older-modules.ts'
import { findPathCaches, forgetPaths } from './path-caches.ts'
import { forgetRequests, noteRequest, type Requests } from './resolved-requests.ts'
import { tellPlace } from './syntax-error-place.ts'

/** Node keeps an ES module by a URL that names one, also for another copy of this library: they count on together. */
const LAST_GENERATION = Symbol.for('express-van.lastGeneration')
const shared = globalThis as { [LAST_GENERATION]?: number }

/** The load whose modules stand in require.cache, by real path. */
const current = new Map<string, FreshImport>()
/** All whose apps may still ask for modules, the newest last: of several routers, each may have one of the same folder. */
const live = new Map<string, Map<FreshImport, LoadedRelease>>()

/**
 * Loads the entry of a release with every module below the release's real path anew, whatever the module system.
 */
export class FreshImport {
  /** ES modules that CommonJS got by `require()`: Node has no way to load them anew at the same path. */
  stale: readonly string[] = []
  /** Where those led that its modules made before these were put aside. */
  readonly requests: Requests = new Map()
  readonly #realPath: string
  readonly #generation = nextGeneration()
  #before: [string, NodeJS.Module][] = []
  #previous: { modules: FreshImport; release: LoadedRelease } | undefined
  /** Its modules that stand in require.cache no more: its app may require them late, and ends with this. */
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
    // Before Node 20 leaves ES modules to the thread of the hooks.
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
    if (isSurelyCommonJS(entry)) return createRequire(entry)(entry)
    this.#isImported = true
    try {
      return await import(withGeneration(pathToFileURL(entry).href, this.#generation))
    } catch (error) {
      await tellPlace(error, entry)
      throw error
    }
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
   * Puts the modules that were there before back, after a load that failed: the app that still serves may go on
   * requiring them.
   */
  undo(): void {
    const now = current.get(this.#realPath)
    if (this.#entry === undefined) return
    this.#leave()
    const hasEnded = this.#previous ? this.#previous.modules.#isForgotten : false
    const previous = hasEnded ? undefined : this.#previous
    if (now !== this && now !== previous?.modules) return
    setAside(this.#realPath)
    if (!hasEnded) putBack(this.#before)
    if (previous) previous.modules.#become(previous.release)
    else this.#giveWay()
  }

  /** Forgets what Node can forget, unless the release has been loaded anew since. */
  forget(): void {
    this.#isForgotten = true
    this.#leave()
    if (hasLinked(this.#realPath)) void linkedRun(this.#realPath).then(() => this.#forgetModules())
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

  /** To the newest of the others, whose app goes on. */
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
  // A builtin module has none.
  if (path === undefined || !isAbsolute(file)) return
  const asking = filename ? realPathOf(filename) : undefined
  const owner = asking !== undefined && isWithin(file, asking) ? asking : realPathOf(file)
  for (const realPath of isTold ? [] : new Set([asking, owner])) {
    if (realPath !== undefined) noteRequest(realPath, path, request, file)
  }
  // The cache may be defined piece by piece instead, which it does not hear of.
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
