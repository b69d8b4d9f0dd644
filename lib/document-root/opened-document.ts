import { close, fstat, open, read, readlinkSync, type Stats } from 'node:fs'
import { READ_FLAGS } from '../files/read-flags.ts'

type Opened = (error: Error | null, descriptor?: number) => void

/** What `fs.createReadStream()` takes for its option `fs`. */
interface FileSystem {
  open(path: string, flags: unknown, mode: number, opened: Opened): void
  readonly read: typeof read
  readonly close: typeof close
}

/**
 * Opens a document that has been checked at its real path. If something else is there by now, calls `exchanged` and
 * fails as if it were absent: whoever can write in the vhost could have put a pipe in its place, or a link to what is
 * another's; and the length and tag of what was `announced` would not be those of what a deploy has put there.
 */
export function openedDocument(
  file: string,
  announced: () => Stats | undefined,
  exchanged: () => void,
): FileSystem {
  return {
    open(path, _, mode, opened) {
      open(path, READ_FLAGS, mode, (error, descriptor) => {
        if (error) {
          opened(error)
          return
        }
        fstat(descriptor, (failure, stats) => {
          if (!failure && stats.isFile() && isSame(stats, announced()) && isAt(placeOf(descriptor), file)) {
            opened(null, descriptor)
            return
          }
          exchanged()
          close(descriptor, () => opened(absent()))
        })
      })
    },
    read,
    close,
  }
}

/** A file that has grown meanwhile is the same. The inode alone does not tell: it is given to the next file at once. */
function isSame(stats: Stats, announced: Stats | undefined): boolean {
  return stats.ino === announced?.ino && stats.birthtimeMs === announced.birthtimeMs
}

/** The path of an open file; undefined if the system does not tell it. */
function placeOf(descriptor: number): string | undefined {
  try {
    // This asks no disk, so it may be synchronous.
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return undefined
  }
}

/** A deploy may have replaced it with a newer one since it was opened, and some file systems ignore case. */
function isAt(path: string | undefined, file: string): boolean {
  if (path === undefined || path === file || path === `${file} (deleted)`) return true
  return path.toLowerCase().normalize() === file.toLowerCase().normalize()
}

function absent(): Error {
  return Object.assign(new Error('the document was exchanged'), { code: 'ENOENT', syscall: 'open' })
}
