import { isBuiltin } from 'node:module'
import { isWithin } from '../files/is-within.ts'
import { cache, putBack, takeOut } from './cached-modules.ts'
import { isLinked } from './linked-modules.ts'
import { internals } from './module-internals.ts'
import { keyOf, type Requests } from './resolved-requests.ts'

/**
 * The modules of one load of a release that are no longer in require.cache, by file. They hold each other by `parent`
 * and `children`, but are not held here. One of them may stay as long as the process runs, because an ES module that
 * Node keeps imports it; it must not keep all the others. Nor must it keep where their requests led, as links on the
 * way may lead elsewhere now.
 */
interface Generation {
  readonly realPath: string
  readonly modules: Map<string, WeakRef<NodeJS.Module>>
  readonly requests: WeakRef<Requests>
}

const SHOWN = { configurable: true, enumerable: true }
const generations = new WeakMap<NodeJS.Module, Generation>()
let isHooked = false

/**
 * Lets modules that a newer load has put aside go on requiring what is their own: an app serves while another release
 * loads beside it, and until its last request has ended.
 */
export function keepOwn(
  realPath: string,
  entries: readonly [string, NodeJS.Module][],
  requests: Requests,
): void {
  hookLoad()
  const generation: Generation = { realPath, modules: new Map(), requests: new WeakRef(requests) }
  for (const [file, module] of entries) add(generation, file, module)
}

/** Modules that were put aside, and those that they have loaded since. */
export function withLoadedSince(entries: readonly [string, NodeJS.Module][]): [string, NodeJS.Module][] {
  const all = new Map(entries)
  for (const generation of new Set(entries.map(([, module]) => generations.get(module)))) {
    for (const [file, reference] of generation?.modules ?? []) {
      const module = reference.deref()
      if (module) all.set(file, module)
    }
  }
  return [...all]
}

function add(generation: Generation, file: string, module: NodeJS.Module): void {
  generation.modules.set(file, new WeakRef(module))
  generations.set(module, generation)
  if (isLinked(module)) loadAmongOwn(generation, file, module)
}

/**
 * An import has linked the module and will run it later. Right before that, Node asks whether it is loaded, and fails
 * with an internal error unless the cache holds it.
 */
function loadAmongOwn(generation: Generation, file: string, module: NodeJS.Module): void {
  const set = (value: boolean): void => {
    Object.defineProperty(module, 'loaded', { ...SHOWN, value, writable: true })
  }
  const get = (): boolean => {
    set(false)
    if (cache[file] !== module) inPlaceOfCurrent(generation, () => internals._load(file, undefined))
    return module.loaded
  }
  Object.defineProperty(module, 'loaded', { ...SHOWN, get, set })
}

function hookLoad(): void {
  if (isHooked) return
  isHooked = true
  const original = internals._load
  internals._load = function load(request: string, parent: NodeJS.Module | undefined, isMain?: boolean) {
    const generation = parent && generations.get(parent)
    if (!generation || isBuiltin(request)) return original.call(this, request, parent, isMain)
    // A load that failed has put the module back there.
    const isCurrent = cache[parent.filename] === parent
    const known = generation.requests.deref()?.get(keyOf(parent.path, request)) ?? ''
    const before = isCurrent ? cache[known] : ownOf(generation, known)
    if (before?.loaded) return before.exports
    if (isCurrent) return original.call(this, request, parent, isMain)
    const own = ownOf(generation, internals._resolveFilename(request, parent, isMain))
    if (own?.loaded) return own.exports
    return inPlaceOfCurrent(generation, () => original.call(this, request, parent, isMain))
  }
}

/** What lies outside the release is shared. */
function ownOf({ realPath, modules }: Generation, file: string): NodeJS.Module | undefined {
  return isWithin(file, realPath) ? modules.get(file)?.deref() : cache[file]
}

/**
 * A module that an older generation has not required yet is loaded among its own modules, and is one of them from then
 * on.
 */
function inPlaceOfCurrent<T>(generation: Generation, load: () => T): T {
  const { realPath, modules } = generation
  const current = takeOut(realPath)
  putBack([...modules].map(([file, module]) => [file, module.deref()]))
  try {
    return load()
  } finally {
    for (const [file, module] of takeOut(realPath)) add(generation, file, module)
    putBack(current)
  }
}
