import Module, { createRequire } from 'node:module'
import { sep } from 'node:path'

const { cache } = createRequire(import.meta.url)

/**
 * Node remembers, beside require.cache and out of reach, which file each request of each folder led to. After a purge
 * that misleads it: an ES module that imports a CommonJS file which re-exports another is given `{}` (Node 20, 22, 24
 * and 26), because the other stands in the cache unloaded and is taken for part of a circle. It forgets a request
 * only when that is made again while its file is not in the cache, so each is made once more, in vain.
 *
 * Real path of a release → `folder\0request` → file, of the files that were its own and of the requests that it made.
 * Where Node needs to forget no request, only the file is known, by its own name.
 */
const requests = new Map<string, Map<string, string>>()
/** Of files that belonged to none when they were asked for. */
const NO_RELEASE = ''

// Made once, because a stack costs more than all the rest.
const ONLY_ASKING = new Error('only asking')

interface LoadingModule {
  _load(request: string, parent: object): unknown
}

/** Notes a file that is of this release or was asked for by it, and which request of which folder led there. */
export function noteRequest(
  file: string,
  realPath: string = NO_RELEASE,
  folder?: string | undefined,
  request?: string,
): void {
  const known = requests.get(realPath) ?? new Map<string, string>()
  requests.set(realPath, known.set(folder === undefined ? file : `${folder}\0${request}`, file))
}

/** Every file below a real path that was asked for; it takes the longer the more releases are loaded, not modules. */
export function requestedBelow(realPath: string): Set<string> {
  const found = new Set<string>()
  const below = realPath + sep
  for (const known of knownAround(realPath)) {
    for (const file of known.values()) if (file.startsWith(below)) found.add(file)
  }
  return found
}

/**
 * Has Node forget where requests led that were made or ended below a real path; to be called when its files left the
 * cache. What lies outside may lie nearer now.
 */
export function forgetRequests(realPath: string): void {
  for (const known of knownAround(realPath)) {
    for (const [key, file] of known) {
      if (!isWithin(key, realPath) && !isWithin(file, realPath)) continue
      known.delete(key)
      const [folder, request] = key.split('\0') as [string, string | undefined]
      if (request !== undefined) withoutCached(file, () => askInVain(folder, request))
    }
  }
  requests.delete(realPath)
}

/** A release may lie within another, and may have been required before it was loaded as one. */
function knownAround(realPath: string): Map<string, string>[] {
  const around: Map<string, string>[] = []
  for (const [owner, known] of requests) {
    if (isWithin(realPath, owner) || isWithin(owner, realPath)) around.push(known)
  }
  return around
}

/** Of a path, or of one with a request after it. */
function isWithin(path: string, folder: string): boolean {
  return (
    path.startsWith(folder) && (folder === NO_RELEASE || [sep, '\0', undefined].includes(path[folder.length]))
  )
}

function withoutCached(file: string, ask: () => void): void {
  const module = cache[file]
  delete cache[file]
  ask()
  if (module) cache[file] = module
}

function askInVain(folder: string, request: string): void {
  try {
    ;(Module as unknown as LoadingModule)._load(request, new Asking(folder))
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
