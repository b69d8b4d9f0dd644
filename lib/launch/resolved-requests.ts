import { isWithin } from '../is-within.ts'
import { cache } from './cached-modules.ts'
import { internals } from './module-internals.ts'
import { RealPathMap } from './real-path-map.ts'

/**
 * Node remembers, beside require.cache and out of reach, which file each request of each folder led to. After a purge
 * that misleads it: an ES module that imports a CommonJS file which re-exports another is given `{}` (Node 20, 22, 24
 * and 26), because the other stands in the cache unloaded and is taken for part of a circle. It forgets a request
 * only when that is made again while its file is not in the cache, so each is made once more, in vain.
 */
const requests = new RealPathMap<Requests>()

// Made once, because a stack costs more than all the rest.
const ONLY_ASKING = new Error('only asking')

/** `folder\0request` → file. */
export type Requests = Map<string, string>

/** Notes that a request of a folder led to a file; one of the two, at least, is of this release. */
export function noteRequest(realPath: string, folder: string, request: string, file: string): void {
  const known: Requests = requests.get(realPath) ?? new Map()
  requests.set(realPath, known.set(keyOf(folder, request), file))
}

export function keyOf(folder: string, request: string): string {
  return `${folder}\0${request}`
}

/**
 * Has Node forget where requests led that were made or ended below a real path; to be called when its files left the
 * cache. What lies outside may lie nearer now. Notes those that were made below it.
 */
export function forgetRequests(realPath: string, made: Requests): void {
  for (const [, known] of requests.around(realPath)) {
    for (const [key, file] of known) {
      const [folder, request] = key.split('\0') as [string, string]
      const isMade = isWithin(folder, realPath)
      if (!isMade && !isWithin(file, realPath)) continue
      if (isMade) made.set(key, file)
      known.delete(key)
      withoutCached(file, () => askInVain(folder, request))
    }
  }
  requests.delete(realPath)
}

/** What stands there is put back as it was: others may have made it read-only, or a getter. */
function withoutCached(file: string, ask: () => void): void {
  const entry = Object.getOwnPropertyDescriptor(cache, file)
  if (entry && !entry.configurable) return
  Reflect.deleteProperty(cache, file)
  try {
    ask()
  } finally {
    if (entry) Object.defineProperty(cache, file, entry)
  }
}

function askInVain(folder: string, request: string): void {
  try {
    internals._load(request, new Asking(folder))
  } catch {
    // As meant: nothing is loaded.
  }
}

/** A module that makes a request and throws before Node resolves it. */
class Asking {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get filename(): never {
    throw ONLY_ASKING
  }
}
