import { lstatSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Node 20 silently cuts longer paths, because of `sun_path` in unix(7). */
const MAX_PATH = 107

/** A folder for private sockets that only the router's own user may enter. */
export class SocketFolder {
  readonly path: string
  #last = 0

  /** @throws Error if no folder gives its sockets a path that is short enough */
  constructor() {
    this.path = makeFolder()
    process.once('exit', this.#remove)
  }

  /** @throws Error if somebody has put something else in its place */
  next(): string {
    this.#restore()
    return join(this.path, String(++this.#last))
  }

  /** A killed app leaves its socket behind. */
  async release(socketPath: string): Promise<void> {
    await unlink(socketPath).catch(() => {})
  }

  close(): void {
    process.off('exit', this.#remove)
    this.#remove()
  }

  /** Whatever cleans up temporary files may have removed the folder. */
  #restore(): void {
    const stats = lstatSync(this.path, { throwIfNoEntry: false })
    if (!stats) {
      mkdirSync(this.path, { mode: 0o700 })
      return
    }
    const user = process.geteuid?.() ?? stats.uid
    if (!stats.isDirectory() || stats.uid !== user) {
      throw new Error('something else is in the place of the folder for private sockets')
    }
  }

  readonly #remove = (): void => {
    rmSync(this.path, { recursive: true, force: true })
  }
}

function makeFolder(): string {
  const name = `express-van-${process.pid}-`
  const longest = `${name}XXXXXX/`.length + 10
  for (const folder of [tmpdir(), '/tmp']) {
    if (Buffer.byteLength(folder) + 1 + longest <= MAX_PATH) return mkdtempSync(join(folder, name))
  }
  throw new Error('the path of the folder for temporary files is too long for a Unix socket')
}
