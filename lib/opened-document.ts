import { close, constants, fstat, open, read, readlink } from 'node:fs'
import { promisify } from 'node:util'

/** Not to wait for a pipe: that would hold one of the four threads for the file system for ever. Windows has none. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

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
      open(path, FLAGS, mode, (error, descriptor) => {
        if (error) {
          opened(error)
          return
        }
        void isSame(descriptor, file).then(isIt => {
          if (isIt) {
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

async function isSame(descriptor: number, file: string): Promise<boolean> {
  const [stats, path] = await Promise.all([
    promisify(fstat)(descriptor),
    // Of Linux, where it can be told at all.
    promisify(readlink)(`/proc/self/fd/${descriptor}`).catch(() => undefined),
  ]).catch(() => [])
  return stats?.isFile() === true && (path === undefined || isAt(path, file))
}

/** A deploy may have exchanged it since by a newer one, and some file systems tell no upper from lower case. */
function isAt(path: string, file: string): boolean {
  if (path === file || path === `${file} (deleted)`) return true
  return path.toLowerCase().normalize() === file.toLowerCase().normalize()
}

function absent(): Error {
  return Object.assign(new Error('the document was exchanged'), { code: 'ENOENT', syscall: 'open' })
}
