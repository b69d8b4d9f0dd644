import { createRequire } from 'node:module'
import { isAbsolute, sep } from 'node:path'

const { cache } = createRequire(import.meta.url)
/** Undefined until there is need to know. */
let unclaimed: Set<string> | undefined

/** Begins with what stands in require.cache; from now on each file that is resolved is to be noted. */
export function beginUnclaimed(): void {
  unclaimed ??= new Set(Object.keys(cache))
}

/** Notes a file that CommonJS resolved while it lay in no release that is loaded. */
export function noteUnclaimed(file: string): void {
  if (isAbsolute(file)) unclaimed?.add(file)
}

/**
 * Whether modules of a release may stand in require.cache although it is not loaded: because the program around the
 * router, or another release, has required them. They are the release's from then on. To go through require.cache for
 * that takes the longer the more is loaded.
 */
export function claim(realPath: string): boolean {
  const below = realPath + sep
  const claimed = [...(unclaimed ?? [])].filter(file => file.startsWith(below))
  for (const file of claimed) unclaimed?.delete(file)
  return claimed.length > 0
}
