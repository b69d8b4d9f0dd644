import { realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { entryNames, findEntry, findNoFile } from '../app-entry.ts'
import { VhostError } from '../errors.ts'

/**
 * The real path of the module to load of a release.
 * @throws VhostError `ERR_VHOST_LOAD` where there is none, or one that may not or cannot be loaded
 */
export async function findEntryModule(
  realPath: string,
  appDir: string,
  moduleName: string | undefined,
): Promise<string> {
  const found = await findEntry(join(realPath, appDir), moduleName)
  if (found === undefined) throw failure(`no entry module; looked for ${entryNames(moduleName)}`)
  const entry = await realpath(found.path)
  // A deploy has just opened it. It would be waited for to listen.
  if ((await stat(entry)).size === 0) throw failure('its entry module is empty')
  if (!entry.startsWith(realPath + sep)) throw failure('its entry module lies outside of the release')
  if (/^\.[cm]?ts$/.test(extname(entry)) && !stripsTypes()) {
    throw failure(
      `TypeScript needs Node 22.18 or newer, or a build step; this is Node ${process.versions.node}`,
    )
  }
  return entry
}

/**
 * Before anything is read: a pipe would be waited for for ever.
 * @throws VhostError `ERR_VHOST_LOAD`
 */
export async function refuseNoFile(realPath: string, appDir: string): Promise<void> {
  const noFile = await findNoFile([appDir, '.'].map(folder => join(realPath, folder, 'package.json')))
  if (noFile !== undefined) throw failure(`its ${noFile} is no file`)
}

function failure(detail: string): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail })
}

function stripsTypes(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript)
}
