import { createRequire } from 'node:module'
import { around, isWithin, NO_RELEASE } from './around.ts'
import { realPathOf } from './generation-hook.ts'

type Entry = [file: string, NodeJS.Module]

/** Node's cache of CommonJS and JSON modules, by file. */
export const cache: NodeJS.Dict<NodeJS.Module> = createRequire(import.meta.url).cache
/** Real path of a release → what was cached of it: to go through the cache would take the longer the more all apps have. */
const files = new Map<string, Set<string>>()
let isWatched = false

/**
 * Has each file noted that is in the cache or comes there from now on, whoever puts it there: Node, for what is required or
 * imported, or a loader such as jiti, tsx and Yarn's PnP, which asks Node for nothing.
 */
export function watchCache(): void {
  if (isWatched) return
  isWatched = true
  for (const file of Object.keys(cache)) note(file)
  // Asked for what the cache itself has not; in its place it would be in the way of what is read, and unknown to who holds it.
  const prototype = new Proxy(Object.create(Object.getPrototypeOf(cache)), {
    set(target, file, module, receiver) {
      if (typeof file === 'string') note(file)
      return Reflect.set(target, file, module, receiver)
    },
  })
  Object.setPrototypeOf(cache, prototype)
}

/** Takes every module below a real path out of the cache. */
export function takeOut(realPath: string): Entry[] {
  const taken: Entry[] = []
  for (const [owner, known] of around(files, realPath)) {
    for (const file of known) {
      if (!isWithin(file, realPath)) continue
      known.delete(file)
      const module = cache[file]
      delete cache[file]
      if (module) taken.push([file, module])
    }
    if (known.size === 0) files.delete(owner)
  }
  return taken
}

export function putBack(entries: readonly [file: string, NodeJS.Module | undefined][]): void {
  for (const [file, module] of entries) {
    if (module) cache[file] = module
  }
}

function note(file: string): void {
  const owner = realPathOf(file) ?? NO_RELEASE
  const known = files.get(owner)
  if (known) known.add(file)
  else files.set(owner, new Set([file]))
}
