import { realpath } from 'node:fs/promises'
import { isGone } from '../files/gone.ts'
import type { Release } from '../release.ts'
import type { FreshImport } from './fresh-import.ts'
import type { Loaded } from './running-app.ts'

/** How many parked apps are checked at each launch, which adds one at most. */
const LOOKS = 2

/**
 * Apps that were evicted although nothing had changed, and whose modules Node keeps. If they are asked for again, they
 * are used again, so that strangers who cycle through names cannot grow memory. Apps that nobody can ask for any more
 * are dropped.
 */
export class ParkedApps {
  readonly #forget: (modules: FreshImport) => void
  readonly #byRealPath = new Map<string, Loaded>()

  /** `forget` is called with the modules of each app that is dropped. */
  constructor(forget: (modules: FreshImport) => void) {
    this.#forget = forget
  }

  park(loaded: Loaded): void {
    this.#byRealPath.set(loaded.release.realPath, loaded)
  }

  /** Takes out the app of a release, to be used again; an app of another version is dropped. */
  take({ realPath, version }: Release): Loaded | undefined {
    const parked = this.#byRealPath.get(realPath)
    if (!parked) return undefined
    if (!Object.is(parked.release.version, version)) {
      this.discard(realPath)
      return undefined
    }
    this.#byRealPath.delete(realPath)
    parked.scope.listeners.putBack()
    return parked
  }

  discard(realPath: string): void {
    const parked = this.#byRealPath.get(realPath)
    if (!parked) return
    this.#byRealPath.delete(realPath)
    parked.scope.end()
    this.#forget(parked.modules)
  }

  discardAll(): void {
    for (const realPath of [...this.#byRealPath.keys()]) this.discard(realPath)
  }

  /** Call at each launch. Checks the apps in turn and drops those whose name now leads elsewhere. */
  lookAfter(): void {
    for (const parked of [...this.#byRealPath.values()].slice(0, LOOKS)) {
      const { realPath } = parked.release
      this.#byRealPath.delete(realPath)
      this.#byRealPath.set(realPath, parked)
      void isLeft(parked).then(isLeft => {
        if (isLeft && this.#byRealPath.get(realPath) === parked) this.discard(realPath)
      })
    }
  }
}

/** Whether the name that it was loaded for leads elsewhere, or nowhere. */
async function isLeft({ release, findInfo }: Loaded): Promise<boolean> {
  try {
    const { path } = await findInfo()
    return (await realpath(path)) !== release.realPath
  } catch (error) {
    return isGone(error)
  }
}
