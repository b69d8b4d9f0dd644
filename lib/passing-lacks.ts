import type { VhostError } from './errors.ts'
import { codeOf } from './thrown.ts'

/** Until a lack counts, in milliseconds: longer than most folders take to be deleted, and to be gone for good. */
const PASSING = 1000

const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ENOENT'])

/**
 * That a release in which something serves lacks a file. It may be on its way to be deleted, or to be deployed file by
 * file: so it is told only when it stays so.
 */
export class PassingLacks {
  readonly #timers = new Map<string, NodeJS.Timeout>()

  /** Calls `tell` after a while, unless something else becomes known of the real path before. */
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

/** Whether a load failed for want of a file: the entry, or what it asked for. */
export function isLack({ code, cause }: VhostError): boolean {
  return code === 'ERR_VHOST_LOAD' && (cause === undefined || NOT_FOUND.has(codeOf(cause) ?? ''))
}
