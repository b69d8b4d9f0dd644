import { open } from 'node:fs/promises'
import { READ_FLAGS } from './read-flags.ts'

const MAX_SIZE = 2 ** 20

/** That what is there is not read, and why, in words that go on after its name. */
export class UnfitFile extends Error {}

/**
 * The text of a file of at most one MiB, whatever somebody may put in its place meanwhile. Rejects with an `UnfitFile`
 * where it is no file, is larger, or belongs to neither `owner`, where one is given, nor root. To be looked at before:
 * a device does something when it is opened.
 */
export async function readSmallFile(path: string, owner?: number): Promise<string> {
  const file = await open(path, READ_FLAGS)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new UnfitFile('is no file')
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
