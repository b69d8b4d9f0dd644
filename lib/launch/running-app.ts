import type { EvictReason } from '../events.ts'
import { type Handler, upgradeOf } from '../handler.ts'
import type { Release } from '../release.ts'
import type { LoadScope } from './caught-listen.ts'
import type { FreshImport } from './fresh-import.ts'
import { CLOSE_TIMEOUT, type FindInfo, type Launched } from './launch.ts'

/** What a release has loaded into this process. */
export interface Loaded {
  readonly release: Release
  readonly findInfo: FindInfo
  readonly modules: FreshImport
  readonly scope: LoadScope
  readonly handler: Handler
  readonly environmentWrites: readonly string[]
}

/**
 * A class, because there are thousands: an object with a getter and closures of its own takes four times the memory.
 */
export class RunningApp implements Launched {
  readonly handle: Launched['handle']
  readonly #loaded: Loaded
  readonly #left: (loaded: Loaded, isParked: boolean) => void

  /** `left` is called when the app has ended, with whether it may be used again. */
  constructor(loaded: Loaded, left: (loaded: Loaded, isParked: boolean) => void) {
    this.handle = loaded.handler.handle
    this.#loaded = loaded
    this.#left = left
  }

  get isolation(): 'none' {
    return 'none'
  }

  get mounted(): Launched['mounted'] {
    return this.#loaded.handler.mounted
  }

  get upgrade(): Launched['upgrade'] {
    return upgradeOf(this.#loaded.handler, this.#loaded.scope.server)
  }

  get environmentWrites(): readonly string[] {
    return this.#loaded.environmentWrites
  }

  get isKeptByNode(): boolean {
    const { modules, handler } = this.#loaded
    return modules.isKeptByNode && handler.close !== undefined
  }

  async dispose(reason: EvictReason): Promise<void> {
    const { modules, handler, scope } = this.#loaded
    const isUnchanged = reason === 'lru' || reason === 'idle'
    const isParked = isUnchanged && modules.isKeptByNode && !handler.close
    const leave = (): void => {
      if (isParked) scope.listeners.remove()
      else scope.end()
      this.#left(this.#loaded, isParked)
    }
    // Called once more if close() ends after all.
    const timer = setTimeout(leave, CLOSE_TIMEOUT).unref()
    try {
      await handler.close?.()
    } finally {
      clearTimeout(timer)
      leave()
    }
  }
}
