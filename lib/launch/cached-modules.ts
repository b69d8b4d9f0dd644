import { createRequire } from 'node:module'
import { isWithin } from '../files/is-within.ts'
import { realPathOf } from './loaded-releases.ts'
import { NO_RELEASE, RealPathMap } from './real-path-map.ts'

type Entry = [file: string, NodeJS.Module]

interface Noted {
  readonly files: Set<string>
  /** At this many files, those that others have taken out of the cache are forgotten. */
  limit: number
}

const LEAST_LIMIT = 1000

/** Node's cache of CommonJS and JSON modules, by file. */
export const cache: NodeJS.Dict<NodeJS.Module> = createRequire(import.meta.url).cache
/** Real path of a release → its cached files. To search the whole cache would take longer with every app. */
const files = new RealPathMap<Noted>()
/** When modules entered the cache. */
const entered = new WeakMap<NodeJS.Module, number>()
let isWatched = false

/**
 * Notes each file that is in the cache or enters it from now on, whoever puts it there: Node, for what is required or
 * imported, or a loader such as jiti, tsx or Yarn's PnP, which does not go through Node.
 */
export function watchCache(): void {
  if (isWatched) return
  isWatched = true
  for (const file of Object.keys(cache)) noteFile(file, realPathOf(file))
  // As the prototype, the proxy sees only names that the cache lacks. In place of the cache it would slow down each
  // read, and code that already holds the cache would bypass it.
  const prototype = new Proxy(Object.create(Object.getPrototypeOf(cache)), {
    set(target, file, module, receiver) {
      if (typeof file === 'string') noteFile(file, realPathOf(file))
      // A module that is put back has not begun anew.
      if (typeof module === 'object' && !entered.has(module)) entered.set(module, performance.now())
      return Reflect.set(target, file, module, receiver)
    },
  })
  Object.setPrototypeOf(cache, prototype)
}

/** Takes every module below a real path out of the cache. */
export function takeOut(realPath: string): Entry[] {
  const taken: Entry[] = []
  for (const [owner, noted] of files.around(realPath)) {
    for (const file of noted.files) {
      if (!isWithin(file, realPath)) continue
      noted.files.delete(file)
      const module = cache[file]
      delete cache[file]
      if (module) taken.push([file, module])
    }
    if (noted.files.size === 0) files.delete(owner)
  }
  return taken
}

/** Every module below a real path that is in the cache. */
export function cachedBelow(realPath: string): NodeJS.Module[] {
  const found: NodeJS.Module[] = []
  for (const [, noted] of files.around(realPath)) {
    for (const file of noted.files) {
      const module = isWithin(file, realPath) ? cache[file] : undefined
      if (module) found.push(module)
    }
  }
  return found
}

/** For how long a module has been in the cache, in milliseconds. */
export function ageInCache(module: NodeJS.Module): number {
  return performance.now() - (entered.get(module) ?? -Infinity)
}

export function putBack(entries: readonly [file: string, NodeJS.Module | undefined][]): void {
  for (const [file, module] of entries) {
    if (module) cache[file] = module
  }
}

/** Notes a file that is cached, or may soon be, under the release whose folder holds it. */
export function noteFile(file: string, realPath: string = NO_RELEASE): void {
  const noted = files.get(realPath) ?? files.add(realPath, { files: new Set<string>(), limit: LEAST_LIMIT })
  // Before the file is added: it may not be in the cache yet, and would be forgotten.
  if (noted.files.size >= noted.limit) forgetAbsent(noted)
  noted.files.add(file)
}

function forgetAbsent(noted: Noted): void {
  for (const file of noted.files) if (!Object.hasOwn(cache, file)) noted.files.delete(file)
  noted.limit = Math.max(LEAST_LIMIT, 2 * noted.files.size)
}
