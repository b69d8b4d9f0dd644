import { createRequire } from 'node:module'
import { isWithin } from '../is-within.ts'
import { realPathOf } from './generation-hook.ts'
import { NO_RELEASE, RealPathMap } from './real-path-map.ts'

type Entry = [file: string, NodeJS.Module]

interface Noted {
  readonly files: Set<string>
  /** With as many, those that others took out of the cache are forgotten. */
  limit: number
}

const LEAST_LIMIT = 1000

/** Node's cache of CommonJS and JSON modules, by file. */
export const cache: NodeJS.Dict<NodeJS.Module> = createRequire(import.meta.url).cache
/** Real path of a release → what was cached of it: to go through the cache would take the longer the more all apps have. */
const files = new RealPathMap<Noted>()
let isWatched = false

/**
 * Has each file noted that is in the cache or comes there from now on, whoever puts it there: Node, for what is required or
 * imported, or a loader such as jiti, tsx and Yarn's PnP, which asks Node for nothing.
 */
export function watchCache(): void {
  if (isWatched) return
  isWatched = true
  for (const file of Object.keys(cache)) noteFile(file, realPathOf(file))
  // Asked for what the cache itself has not; in its place it would be in the way of what is read, and unknown to who holds it.
  const prototype = new Proxy(Object.create(Object.getPrototypeOf(cache)), {
    set(target, file, module, receiver) {
      if (typeof file === 'string') noteFile(file, realPathOf(file))
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

export function putBack(entries: readonly [file: string, NodeJS.Module | undefined][]): void {
  for (const [file, module] of entries) {
    if (module) cache[file] = module
  }
}

/** Notes a file that is cached, or may be soon, of the release in whose folder it lies. */
export function noteFile(file: string, realPath: string = NO_RELEASE): void {
  const noted = files.get(realPath) ?? { files: new Set<string>(), limit: LEAST_LIMIT }
  files.set(realPath, noted)
  // Before it is there itself.
  if (noted.files.size >= noted.limit) forgetAbsent(noted)
  noted.files.add(file)
}

function forgetAbsent(noted: Noted): void {
  for (const file of noted.files) if (!Object.hasOwn(cache, file)) noted.files.delete(file)
  noted.limit = Math.max(LEAST_LIMIT, 2 * noted.files.size)
}
