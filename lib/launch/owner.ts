import { lstat, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { VhostError } from '../errors.ts'
import { isWithin } from '../files/is-within.ts'

/** The user that a process is to become. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

const ROOT = 0
const WRITABLE_BY_ALL = 0o002
const STICKY = 0o1000

/**
 * The owner of a release folder. Nobody else may have a hand in what runs as this user. So each step from the base path
 * to the entry, or from the root if the entry lies elsewhere, must belong to the owner, to root or to the owner of the
 * base path. Whoever else owned a step could lead it to one of the owner's folders during this check, and back before
 * the app is loaded.
 * @throws VhostError `ERR_VHOST_LOAD` if that is not so, or the owner is root
 */
export async function ownerOf(realPath: string, entry: string, basePath: string): Promise<Owner> {
  const { uid, gid } = await lstat(realPath)
  if (uid === ROOT || gid === ROOT) throw refusal('belongs to root')
  const base = await realpath(basePath)
  const trusted = new Set([ROOT, uid, (await lstat(base)).uid])
  for (const path of stepsTo(entry)) {
    if (isWithin(base, path)) continue
    const { uid: user, mode } = await lstat(path)
    if (!trusted.has(user)) throw refusal('or its entry lies in a folder of another user')
    const isSticky = (mode & STICKY) !== 0 && !isWithin(path, realPath)
    if ((mode & WRITABLE_BY_ALL) !== 0 && !isSticky) throw refusal('or its entry may be exchanged by anybody')
  }
  return { uid, gid }
}

/** Each folder on the way, from the root, and the file itself. */
function stepsTo(file: string): string[] {
  const above = dirname(file)
  return above === file ? [file] : [...stepsTo(above), file]
}

function refusal(why: string): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail: `its folder ${why}, and option 'user' is 'owner'` })
}
