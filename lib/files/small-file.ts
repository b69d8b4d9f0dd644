import { type FileHandle, open } from 'node:fs/promises'
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
    return await readToEnd(file, stats.size)
  } finally {
    await file.close()
  }
}

/** Reads beyond `size`: the file may have been replaced by longer text since, of which a part would be malformed. */
async function readToEnd(file: FileHandle, size: number): Promise<string> {
  // One byte more, so that a file of this size ends with a read of nothing.
  let bytes = Buffer.allocUnsafe(size + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length)
    if (bytesRead === 0) return bytes.toString('utf8', 0, length)
    length += bytesRead
    if (length > MAX_SIZE) throw new UnfitFile('is larger than 1 MiB')
    if (length === bytes.length) bytes = Buffer.concat([bytes], length * 2)
  }
}
