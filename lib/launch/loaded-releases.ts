import { dirname } from 'node:path'

/**
 * Node keeps an ES module for ever, by its URL. So each load of a release is a generation, written into the URL of
 * its entry, which `generation-hook.ts` hands on to every file that it imports.
 */
export interface LoadedRelease {
  /** Counts for what a CommonJS module of the release imports: its own URL names no generation. */
  readonly generation: number
  /** Folders where bare imports are looked up last. */
  readonly modulePaths: readonly string[]
}

/** By real path. On Node 20, the hooks thread has a copy. */
const releases = new Map<string, LoadedRelease>()
/** Folder → the real path of the release around it: each `require()` asks for that of two files, mostly in one folder. */
const found = new Map<string, string | undefined>()

export function addRelease(realPath: string, release: LoadedRelease): void {
  releases.set(realPath, release)
  found.clear()
}

export function removeRelease(realPath: string): void {
  releases.delete(realPath)
  found.clear()
}

export function releaseAt(realPath: string): LoadedRelease | undefined {
  return releases.get(realPath)
}

/** The release that a file belongs to. */
export function releaseOf(file: string): LoadedRelease | undefined {
  const realPath = realPathOf(file)
  return realPath === undefined ? undefined : releases.get(realPath)
}

/** The real path of the release that a file belongs to. */
export function realPathOf(file: string): string | undefined {
  const folder = dirname(file)
  if (!found.has(folder)) found.set(folder, realPathAbove(folder))
  return found.get(folder)
}

function realPathAbove(folder: string): string | undefined {
  if (releases.has(folder)) return folder
  const above = dirname(folder)
  return above === folder ? undefined : realPathAbove(above)
}
