import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

const MEMORY = '/dev/shm'

/** A base path on disk; gone when disposed. */
export class Sites {
  readonly base: string

  constructor(folder: string = tmpdir()) {
    this.base = realpathSync(mkdtempSync(join(folder, 'express-van-bench-')))
  }

  /** On a file system in memory if there is one: making and removing so many folders on disk takes minutes. */
  static inMemory(): Sites {
    return new Sites(existsSync(MEMORY) ? MEMORY : tmpdir())
  }

  /** Makes vhosts whose apps all have this source, and returns their names. */
  add(count: number, source: string): string[] {
    const hosts = hostnames(count)
    for (const host of hosts) this.write(`${host}/app/index.js`, source)
    return hosts
  }

  /** Writes a file below the base path, with the folders on its way. */
  write(file: string, content: string): void {
    const path = this.path(file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }

  /**
   * Makes a folder of hard links to the files of another: Node takes them for separate files, and they use no disk
   * space.
   */
  link(folder: string, other: string): void {
    for (const entry of readdirSync(this.path(other), { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name)
      const path = this.path(folder, relative(this.path(other), file))
      if (entry.isDirectory()) mkdirSync(path, { recursive: true })
      else linkSync(file, path)
    }
  }

  path(...parts: string[]): string {
    return join(this.base, ...parts)
  }

  addEmptyFolders(count: number): void {
    for (let n = 0; n < count; n++) mkdirSync(this.path(`empty-${n}.bench.test`))
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}

export function hostnames(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `host-${n}.bench.test`)
}

/** The source of an app as small as an app can be. */
export const SMALL_APP = `module.exports = (req, res) => res.end('hello')\n`
