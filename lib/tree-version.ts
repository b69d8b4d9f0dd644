import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessGone } from './files/gone.ts'

/**
 * A version that sees every file of the app folder but `node_modules`, dot folders and `tmp`: for development, where
 * any edit should show. Pass it as the option `getVersion`. It reads the whole tree at each comparison, so a large one
 * is better served by the default and a `touch`.
 * @throws ENOENT if the app folder is gone
 */
export async function treeVersion(realPath: string, appDir = 'app'): Promise<string> {
  const hash = createHash('sha1')
  const root = join(realPath, appDir)
  const { dev, ino } = await stat(root, { bigint: true })
  hash.update(`${dev}:${ino}`)
  await addFolder(root, hash)
  return hash.digest('hex')
}

async function addFolder(folder: string, hash: ReturnType<typeof createHash>): Promise<void> {
  const entries = (await unlessGone(readdir(folder, { withFileTypes: true }))) ?? []
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (!isLeftOut(entry.name)) await addFolder(path, hash)
      continue
    }
    const stats = await unlessGone(stat(path, { bigint: true }))
    // A link to a folder is left out by its name, as the folder would be.
    if (stats?.isDirectory() && isLeftOut(entry.name)) continue
    hash.update(`${path}\0${stats ? `${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}:${stats.ino}` : '-'}\0`)
  }
}

function isLeftOut(name: string): boolean {
  return name === 'node_modules' || name === 'tmp' || name.startsWith('.')
}
