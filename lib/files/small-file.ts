import { open } from 'node:fs/promises'
import { READ_FLAGS } from './read-flags.ts'

const MAX_SIZE = 2 ** 20

/** Why a file is not read; the message goes on after the file's name. */
export class UnfitFile extends Error {}

/**
 * The text of a file of at most one MiB, whatever somebody may put in its place meanwhile. Rejects with an `UnfitFile`
 * if it is not a file, is larger, or belongs neither to root nor to `owner`, if that is given. Look at the path first:
 * a device does something when it is opened.
 */
export async function readSmallFile(path: string, owner?: number): Promise<string> {
  const file = await open(path, READ_FLAGS)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new UnfitFile('is not a file')
    if (stats.size > MAX_SIZE) throw new UnfitFile('is larger than 1 MiB')
    if (owner !== undefined && stats.uid !== owner && stats.uid !== 0) {
      throw new UnfitFile('belongs to somebody else')
    }
    const bytes = Buffer.allocUnsafe(stats.size)
    let length = 0
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = (await file.read(bytes, length, bytes.length - length)).bytesRead
    }
    return bytes.toString('utf8', 0, length)
  } finally {
    await file.close()
  }
}
