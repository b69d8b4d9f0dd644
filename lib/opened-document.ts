import { close, fstat, open, read, readlinkSync } from 'node:fs'
import { READ_FLAGS } from './read-flags.ts'

type Opened = (error: Error | null, descriptor?: number) => void

/** What `fs.createReadStream()` takes for its option `fs`. */
interface FileSystem {
  open(path: string, flags: unknown, mode: number, opened: Opened): void
  readonly read: typeof read
  readonly close: typeof close
}

/**
 * Opens a document that has been checked under its real path. `exchanged` is told where something else stands there by
 * now, which is then as if it were absent: whoever can write in the vhost could have put a link to what is another's, or
 * a pipe, in its place.
 */
export function openedDocument(file: string, exchanged: () => void): FileSystem {
  return {
    open(path, _, mode, opened) {
      open(path, READ_FLAGS, mode, (error, descriptor) => {
        if (error) {
          opened(error)
          return
        }
        fstat(descriptor, (failure, stats) => {
          if (!failure && stats.isFile() && isAt(placeOf(descriptor), file)) {
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

/** Undefined where the system does not tell it. */
function placeOf(descriptor: number): string | undefined {
  try {
    // No disk is asked for it.
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return undefined
  }
}

/** A deploy may have exchanged it since by a newer one, and some file systems tell no upper from lower case. */
function isAt(path: string | undefined, file: string): boolean {
  if (path === undefined || path === file || path === `${file} (deleted)`) return true
  return path.toLowerCase().normalize() === file.toLowerCase().normalize()
}

function absent(): Error {
  return Object.assign(new Error('the document was exchanged'), { code: 'ENOENT', syscall: 'open' })
}
