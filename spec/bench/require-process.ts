import { createRequire } from 'node:module'
import { answer } from './worker.ts'

const require = createRequire(import.meta.url)

const verbs = answer({ requireTimed })
export type RequireVerbs = typeof verbs

/** How long Node itself takes, in milliseconds. */
function requireTimed(path: string): number {
  const start = performance.now()
  require(path)
  return performance.now() - start
}
