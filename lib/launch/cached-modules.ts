import { createRequire } from 'node:module'
import { sep } from 'node:path'
import { seesImports } from './generation-hook.ts'
import { noteRequest, requestedBelow } from './resolved-requests.ts'

/** Node's cache of CommonJS and JSON modules, by file. */
export const cache: NodeJS.Dict<NodeJS.Module> = createRequire(import.meta.url).cache
let isNoted = false

/** Notes what stands in the cache before any request is noted. */
export function noteCached(): void {
  if (isNoted) return
  isNoted = true
  for (const file of Object.keys(cache)) noteRequest(file)
}

/**
 * Every module in the cache below a real path. The cache holds those of all apps and is not gone through: what is in it
 * was asked for, or is the child of what was, as where another loader puts it there. Node 20 does not tell what is imported.
 */
export function cachedBelow(realPath: string): [file: string, NodeJS.Module][] {
  const below = realPath + sep
  const found = new Map<string, NodeJS.Module>()
  const ahead = seesImports()
    ? [...requestedBelow(realPath)]
    : Object.keys(cache).filter(file => file.startsWith(below))
  for (let file = ahead.pop(); file !== undefined; file = ahead.pop()) {
    const module = cache[file]
    if (!module || found.has(file)) continue
    found.set(file, module)
    // JSON that was imported has none.
    for (const child of module.children ?? [])
      if (child.filename?.startsWith(below)) ahead.push(child.filename)
  }
  return [...found]
}
