import { isWithin } from '../files/is-within.ts'
import { cache } from './cached-modules.ts'
import { internals } from './module-internals.ts'
import { RealPathMap } from './real-path-map.ts'

/**
 * Besides require.cache, Node keeps a hidden cache of the file that each request of each folder led to. After a purge
 * that cache misleads it: an ES module that imports a CommonJS file which re-exports another gets `{}` (Node 20, 22, 24
 * and 26), because the other is in the cache unloaded and is taken for part of a circle. Node forgets a request only
 * when it is made again while its file is not in the cache, so each is made once more, in vain.
 */
const requests = new RealPathMap<Requests>()

// Made once, because a stack costs more than all the rest.
const ONLY_ASKING = new Error('only asking')

/** `folder\0request` → file. */
export type Requests = Map<string, string>

/** Notes that a request from a folder led to a file; at least one of the two is in this release. */
export function noteRequest(realPath: string, folder: string, request: string, file: string): void {
  const known = requests.get(realPath) ?? requests.add(realPath, new Map())
  known.set(keyOf(folder, request), file)
}

export function keyOf(folder: string, request: string): string {
  return `${folder}\0${request}`
}

/**
 * Makes Node forget where requests led that start or end below a real path. Call it when the release's files have left
 * the cache. Files outside count too, as a nearer one may be there now. Adds the requests from below the path to
 * `made`.
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

/** The entry is put back as it was: others may have made it read-only, or a getter. */
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
