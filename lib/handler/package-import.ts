import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** Imports a package by its name; resolves to undefined if there is none. */
export type ImportPackage = (name: string) => Promise<unknown>

/** Imports a package that is installed beside express-van itself. */
export async function importOwn(name: string): Promise<unknown> {
  return await importFor(import.meta.url, name)
}

/** Imports a package as `module` would; `toUrl` may change the URL that it is imported by. */
export async function importFor(
  module: string,
  name: string,
  toUrl: (url: string) => string = url => url,
): Promise<unknown> {
  let path: string
  try {
    path = createRequire(module).resolve(name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
  return await import(toUrl(pathToFileURL(path).href))
}
