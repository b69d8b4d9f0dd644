import { stampOf } from './folder-stamp.ts'
import { inLanes } from './lanes.ts'

/** Finds the folders that are not the same as before: renamed, deleted, or with another one in their place. */
export class ReplacedFolders {
  /** By path, for the folders that were asked for last. */
  #stamps: ReadonlyMap<string, string | undefined> = new Map()
  readonly #looking = new Set<string>()

  /** Those of the paths whose folder is not the same as at the last call, or was not asked for then. */
  async among(paths: ReadonlySet<string>): Promise<Set<string>> {
    const before = this.#stamps
    // A folder whose look hangs keeps its old stamp.
    const now = new Map([...paths].map(path => [path, before.get(path)]))
    this.#stamps = now
    let isOver = false
    await inLanes([...paths], async path => {
      // A look that hangs takes one thread, not one more at each call.
      if (this.#looking.has(path)) return
      this.#looking.add(path)
      const stamp = await stampOf(path)
      this.#looking.delete(path)
      if (!isOver) now.set(path, stamp)
    })
    isOver = true
    return new Set([...paths].filter(path => now.get(path) !== before.get(path)))
  }
}
