import { relative, sep } from 'node:path'

/** Whether a path is a folder or lies in it; both are absolute and normal. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || isBelow(path, folder)
}

/** Whether a path lies in a folder; both are absolute and normal. */
export function isBelow(path: string, folder: string): boolean {
  if (path.length <= folder.length || !path.startsWith(folder)) return false
  // The topmost folder itself ends with a separator.
  return path[folder.length] === sep || folder.endsWith(sep)
}

/** A path as seen from a folder; one that is not below the folder stays as it is. */
export function pathBelow(path: string, folder: string): string {
  return isBelow(path, folder) ? relative(folder, path) : path
}
