import { setTimeout as delay } from 'node:timers/promises'
import { cachedBelow } from './cached-modules.ts'

/** What Node writes on CommonJS that an import has linked. */
const MARK = 'kIsCachedByESMLoader'
/** How long what is linked may take to run, in milliseconds; of an import that failed it never does. */
const PATIENCE = 1000
/** Milliseconds between two looks. */
const LOOK = 5

/**
 * Waits until what imports under way have linked of a release has run. On Node 20 CommonJS that is taken out of the cache
 * between the two ends the process: its import fails, and by a second rejection, which nobody can handle.
 */
export async function linkedRun(realPath: string): Promise<void> {
  const end = performance.now() + PATIENCE
  while (hasLinked(realPath) && performance.now() < end) await delay(LOOK)
}

/** Whether there is something to wait for. */
export function hasLinked(realPath: string): boolean {
  return process.version.startsWith('v20.') && cachedBelow(realPath).some(isLinked)
}

function isLinked(module: NodeJS.Module): boolean {
  const mark = Object.getOwnPropertySymbols(module).find(symbol => symbol.description === MARK)
  return !module.loaded && mark !== undefined && Reflect.get(module, mark) === true
}
