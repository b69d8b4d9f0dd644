import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { hasHooksHere, internals } from './module-internals.ts'

/** Where each path leads by links. Node has one Map for CommonJS and one for ES modules, in each thread. */
const realPaths = new Set<Map<unknown, unknown>>()
let isSearched = false

/**
 * Makes Node look again for files and for where links lead, which it otherwise does once in the life of the process.
 */
export function forgetPaths(): void {
  // For all apps: the cache only saves Node a search, and what is found for one folder counts for all below it.
  internals._pathCache = Object.create(null)
  for (const cache of realPaths) cache.clear()
}

/**
 * Finds the caches of this thread, once. Node does not give them out, but hands them to `realpathSync()`, under a
 * symbol, with each path that it asks for. `resolve` must make Node resolve an ES module before it returns.
 */
export function findPathCaches(resolve: (url: string) => unknown): void {
  if (isSearched) return
  isSearched = true
  const ask = (): void => {
    forgetPaths()
    internals._findPath(fileURLToPath(import.meta.url), [''], false)
    // A URL that Node has not resolved itself.
    resolve(`${import.meta.url}?path-caches`)
  }
  try {
    if (hasHooksHere) noteFromRealpathSync(ask)
    else noteFromEncoding(ask)
  } catch {
    // Whatever stands in for Node here may keep other caches.
  }
}

function noteFromRealpathSync(ask: () => void): void {
  const { realpathSync } = fs
  const noting = new Proxy(realpathSync, {
    apply(target, self, args) {
      note(args[1])
      return Reflect.apply(target, self, args)
    },
  })
  Reflect.set(fs, 'realpathSync', noting)
  try {
    ask()
  } finally {
    Reflect.set(fs, 'realpathSync', realpathSync)
  }
}

/**
 * Node 20 took its `realpathSync()` before anybody could replace it. But it reads `encoding` of the options, which have
 * none.
 */
function noteFromEncoding(ask: () => void): void {
  Reflect.defineProperty(Object.prototype, 'encoding', {
    configurable: true,
    get() {
      note(this)
    },
  })
  try {
    ask()
  } finally {
    Reflect.deleteProperty(Object.prototype, 'encoding')
  }
}

function note(options: object = {}): void {
  for (const symbol of Object.getOwnPropertySymbols(options)) {
    const cache: unknown = Reflect.get(options, symbol)
    if (symbol.description === 'realpathCacheKey' && types.isMap(cache)) realPaths.add(cache)
  }
}
