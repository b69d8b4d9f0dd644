import type { VhostError } from '../errors.ts'
import { codeOf } from '../values/thrown.ts'

/**
 * How long a lack must last before it counts, in milliseconds: longer than most folders take to be deleted and seen
 * gone for good.
 */
const PASSING = 1000

const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ENOENT'])

/**
 * Releases that lack a file while something serves there. Such a release may be in the middle of being deleted, or
 * deployed file by file, so the lack is reported only if it lasts.
 */
export class PassingLacks {
  readonly #timers = new Map<string, NodeJS.Timeout>()

  /** Calls `tell` after a while, unless something else becomes known about the real path first. */
  hold(realPath: string, tell: () => void): void {
    this.forget(realPath)
    const timer = setTimeout(() => {
      this.#timers.delete(realPath)
      tell()
    }, PASSING)
    this.#timers.set(realPath, timer.unref())
  }

  forget(realPath: string): void {
    clearTimeout(this.#timers.get(realPath))
    this.#timers.delete(realPath)
  }
}

/** Whether a load failed for want of a file: the entry, or one that it needs. */
export function isLack({ code, cause }: VhostError): boolean {
  return code === 'ERR_VHOST_LOAD' && (cause === undefined || NOT_FOUND.has(codeOf(cause) ?? ''))
}
