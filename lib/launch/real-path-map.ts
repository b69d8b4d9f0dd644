import { dirname } from 'node:path'
import { isBelow } from '../files/is-within.ts'

/** Stands for the real path of what belongs to no loaded release. */
export const NO_RELEASE = ''

/** What is known of releases, by real path. Finds what is around one without going through all. */
export class RealPathMap<T> {
  readonly #known = new Map<string, T>()
  /** Folder → how many of the real paths lie below it. */
  readonly #below = new Map<string, number>()

  get(realPath: string): T | undefined {
    return this.#known.get(realPath)
  }

  /** Adds what is known of a release of which nothing is known yet, and returns it. */
  add(realPath: string, known: T): T {
    this.#known.set(realPath, known)
    this.#count(realPath, 1)
    return known
  }

  delete(realPath: string): void {
    if (this.#known.delete(realPath)) this.#count(realPath, -1)
  }

  /**
   * What is known of a release and of those around and within it: its files may have been required before it was one
   * itself.
   */
  around(realPath: string): [realPath: string, T][] {
    const paths = [NO_RELEASE, realPath, ...above(realPath)].filter(path => this.#known.has(path))
    if (this.#below.has(realPath)) {
      for (const path of this.#known.keys()) if (isBelow(path, realPath)) paths.push(path)
    }
    return paths.map(path => [path, this.#known.get(path) as T])
  }

  #count(realPath: string, more: 1 | -1): void {
    for (const folder of above(realPath)) {
      const count = (this.#below.get(folder) ?? 0) + more
      if (count === 0) this.#below.delete(folder)
      else this.#below.set(folder, count)
    }
  }
}

function above(realPath: string): string[] {
  const folders: string[] = []
  if (realPath === NO_RELEASE) return folders
  for (let folder = realPath; folder !== dirname(folder); ) {
    folder = dirname(folder)
    folders.push(folder)
  }
  return folders
}
