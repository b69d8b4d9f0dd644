import Module, { createRequire } from 'node:module'
import { sep } from 'node:path'

interface LoadingModule {
  _load(request: string, parent: NodeJS.Module | undefined, isMain: boolean): unknown
  _resolveFilename(request: string, parent: NodeJS.Module, isMain: boolean): string
}

/** The modules of one load of a release that stand in require.cache no more, by file. */
interface Older {
  readonly realPath: string
  readonly modules: Map<string, NodeJS.Module>
}

const { cache } = createRequire(import.meta.url)
const loading = Module as unknown as LoadingModule
/** By what loaded them. */
const olders = new WeakMap<object, Older>()
const olderOf = new WeakMap<NodeJS.Module, Older>()
let isHooked = false

/**
 * Lets modules that a newer load has put aside go on requiring what is their own: an app serves while another release
 * loads beside it, and until its last request has ended. `owner` is what loaded them, undefined where nobody knows.
 */
export function keepOwn(
  owner: object | undefined,
  realPath: string,
  entries: readonly [string, NodeJS.Module][],
): void {
  hookLoad()
  const older = (owner && olders.get(owner)) ?? { realPath, modules: new Map() }
  if (owner) olders.set(owner, older)
  for (const [file, module] of entries) {
    older.modules.set(file, module)
    olderOf.set(module, older)
  }
}

/**
 * Their app has ended. Some may stay for as long as the process runs, because ES modules that Node keeps import them:
 * these are not to hold all others. What is required late all the same is loaded once more, beside what serves.
 */
export function forgetOwn(owner: object): void {
  const older = olders.get(owner)
  if (!older) return
  for (const module of older.modules.values()) {
    module.children = []
    module.parent = undefined
  }
  older.modules.clear()
  olders.delete(owner)
}

function hookLoad(): void {
  if (isHooked) return
  isHooked = true
  const original = loading._load
  loading._load = function load(request, parent, isMain) {
    const older = parent && olderOf.get(parent)
    const isCurrent = !older || cache[parent.filename] === parent
    if (isCurrent || Module.isBuiltin(request)) return original.call(this, request, parent, isMain)
    const file = loading._resolveFilename(request, parent, isMain)
    const own = older.modules.get(file)
    if (own?.loaded) return own.exports
    return inPlaceOfCurrent(older, () => original.call(this, request, parent, isMain))
  }
}

/** What an older generation has not required yet is loaded among its own modules, and is one of them from then on. */
function inPlaceOfCurrent<T>(older: Older, load: () => T): T {
  const current = takeOut(older.realPath)
  putIn(older.modules)
  try {
    return load()
  } finally {
    for (const [file, module] of takeOut(older.realPath)) {
      older.modules.set(file, module)
      olderOf.set(module, older)
    }
    putIn(current)
  }
}

function takeOut(realPath: string): [string, NodeJS.Module][] {
  const below = realPath + sep
  const entries = Object.entries(cache).filter(([file]) => file.startsWith(below))
  for (const [file] of entries) delete cache[file]
  return entries as [string, NodeJS.Module][]
}

function putIn(entries: Iterable<[string, NodeJS.Module]>): void {
  for (const [file, module] of entries) cache[file] = module
}
