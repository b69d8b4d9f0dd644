import Module from 'node:module'

/**
 * Node remembers, beside require.cache and out of reach, which file each request of each folder led to. After a purge
 * that misleads it: an ES module that imports a CommonJS file which re-exports another is given `{}` (Node 20, 22, 24
 * and 26), because the other stands in the cache unloaded and is taken for part of a circle. It forgets a request
 * only when that is made again while its file is not in the cache, so each is made once more, in vain.
 */
const requests = new Map<string, Set<string>>()

// Made once, because a stack costs more than all the rest.
const ONLY_ASKING = new Error('only asking')

interface LoadingModule {
  _load(request: string, parent: object): unknown
}

/** Notes that a request of a folder led to a file of this release. */
export function noteRequest(realPath: string, folder: string, request: string): void {
  const known = requests.get(realPath) ?? new Set()
  requests.set(realPath, known.add(`${folder}\0${request}`))
}

/** Has Node forget where requests led that ended in this release; to be called when its files left the cache. */
export function forgetRequests(realPath: string): void {
  for (const known of requests.get(realPath) ?? []) {
    const [folder, request] = known.split('\0') as [string, string]
    try {
      ;(Module as unknown as LoadingModule)._load(request, new Asking(folder))
    } catch {
      // As meant: nothing is loaded.
    }
  }
  requests.delete(realPath)
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
