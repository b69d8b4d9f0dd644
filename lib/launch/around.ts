import { sep } from 'node:path'

/** In place of a real path: of what belongs to no release that is loaded. */
export const NO_RELEASE = ''

/** What is known of a release and of those around and within it: it may have been required before it was one itself. */
export function around<T>(byRealPath: ReadonlyMap<string, T>, realPath: string): [realPath: string, T][] {
  const found: [string, T][] = []
  for (const [other, known] of byRealPath) {
    if (isWithin(realPath, other) || isWithin(other, realPath)) found.push([other, known])
  }
  return found
}

export function isWithin(path: string, folder: string): boolean {
  if (!path.startsWith(folder)) return false
  return folder === NO_RELEASE || path.length === folder.length || path[folder.length] === sep
}
