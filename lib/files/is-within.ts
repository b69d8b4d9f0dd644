import { sep } from 'node:path'

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
