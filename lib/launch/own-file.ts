import { existsSync } from 'node:fs'

/**
 * The URL of one of this library's own files, which Node itself loads for a thread or a process.
 * @throws if the file is missing, as when a bundler has put the library into another file
 */
export function ownFile(path: string, from: string): URL {
  const url = new URL(path, from)
  if (existsSync(url)) return url
  throw new Error(
    `express-van cannot find its own file ${path}: if it was bundled, mark it as external in the bundler`,
  )
}
