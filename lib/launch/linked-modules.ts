import { setTimeout as delay } from 'node:timers/promises'
import { ageInCache, cachedBelow } from './cached-modules.ts'

/** The mark that Node puts on a CommonJS module that an import has linked. */
const MARK = 'kIsCachedByESMLoader'
/**
 * How long linked modules may take to run, in milliseconds. After a failed import they never do, nor does what a package
 * such as React exports in development only: Node links that, too, to learn its names.
 */
const PATIENCE = 1000
/** Milliseconds between two checks. */
const LOOK = 5

/**
 * Waits until those modules of a release have run that imports under way have linked. On Node 20, if a CommonJS module
 * that has left the cache between linking and running fails, that ends the process: its import fails with a second
 * rejection, which nobody can handle. Modules that take longer are run among their own ones.
 */
export async function linkedRun(realPath: string, { ref = true }: { ref?: boolean } = {}): Promise<void> {
  const end = performance.now() + PATIENCE
  while (hasLinked(realPath) && performance.now() < end) await delay(LOOK, undefined, { ref })
}

/** Whether there is something to wait for. */
export function hasLinked(realPath: string): boolean {
  if (!process.version.startsWith('v20.')) return false
  return cachedBelow(realPath).some(module => isLinked(module) && ageInCache(module) < PATIENCE)
}

/** Whether an import has linked a CommonJS module that has not run yet. */
export function isLinked(module: NodeJS.Module): boolean {
  const mark = Object.getOwnPropertySymbols(module).find(symbol => symbol.description === MARK)
  // Before it runs, `loaded` may have a getter that runs it.
  const hasRun = Object.getOwnPropertyDescriptor(module, 'loaded')?.value === true
  return !hasRun && mark !== undefined && Reflect.get(module, mark) === true
}
