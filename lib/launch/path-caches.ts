import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { hasHooksHere, internals } from './module-internals.ts'

/** What each path leads to, by links: Node has a Map for CommonJS and one for ES modules, in each thread. */
const realPaths = new Set<Map<unknown, unknown>>()
let isSearched = false

/** Has Node look anew for files and for where links lead, which it does once in the life of the process. */
export function forgetPaths(): void {
  // Of all apps: it only saves Node a search, and what is found for one folder counts for all below it.
  internals._pathCache = Object.create(null)
  for (const cache of realPaths) cache.clear()
}

/**
 * Finds the caches of this thread, once. They are nowhere to be had, but handed to `realpathSync()`, below a symbol, with
 * each path that Node asks for. `resolve` is to have Node resolve an ES module, before it returns.
 */
export function findPathCaches(resolve: (url: string) => unknown): void {
  if (isSearched) return
  isSearched = true
  const ask = (): void => {
    forgetPaths()
    internals._findPath(fileURLToPath(import.meta.url), [''], false)
    // By a URL that Node has not resolved itself.
    resolve(`${import.meta.url}?path-caches`)
  }
  try {
    if (hasHooksHere) noteFromRealpathSync(ask)
    else noteFromEncoding(ask)
  } catch {
    // Whoever stands in Node's place here may keep other caches.
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

/** Node 20 took its `realpathSync()` before anybody could exchange it. It asks the options, which have none, for an encoding. */
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
