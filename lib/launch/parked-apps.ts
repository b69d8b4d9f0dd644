import { realpath } from 'node:fs/promises'
import { isGone } from '../gone.ts'
import type { Release } from '../release.ts'
import type { FreshImport } from './fresh-import.ts'
import type { Loaded } from './running-app.ts'

/** How many are looked after at each launch, by which no more than one comes to be parked. */
const LOOKS = 2

/**
 * Apps that were evicted although nothing had changed, and whose modules Node keeps: asked for again, they are
 * used again, so that strangers who cycle names cannot grow memory. Those go that nobody can ask for any more.
 */
export class ParkedApps {
  readonly #forget: (modules: FreshImport) => void
  readonly #byRealPath = new Map<string, Loaded>()

  /** `forget` is told of the modules of what goes. */
  constructor(forget: (modules: FreshImport) => void) {
    this.#forget = forget
  }

  park(loaded: Loaded): void {
    this.#byRealPath.set(loaded.release.realPath, loaded)
  }

  /** Takes the app of a release out, to be used again; one of another version goes. */
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

  /** To be called at each launch: by turns those go whose name leads elsewhere by now. */
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
