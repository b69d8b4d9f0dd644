import { stampOf } from './folder-stamp.ts'
import { inLanes } from './lanes.ts'

/** Finds the folders that are others than they were: renamed, deleted, or with another one in their place. */
export class ReplacedFolders {
  /** By path, of those that were asked for last. */
  #stamps: ReadonlyMap<string, string | undefined> = new Map()
  readonly #looking = new Set<string>()

  /** Of these the ones that are others than at the last call, or were not asked for then. */
  async among(paths: ReadonlySet<string>): Promise<Set<string>> {
    const before = this.#stamps
    // What hangs stays as it was.
    const now = new Map([...paths].map(path => [path, before.get(path)]))
    this.#stamps = now
    let isOver = false
    await inLanes([...paths], async path => {
      // One that hangs takes one thread, not one more at each call.
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
