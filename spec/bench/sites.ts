import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MEMORY = '/dev/shm'

/** A base path on disk; gone when disposed. */
export class Sites {
  readonly base: string

  constructor(folder: string = tmpdir()) {
    this.base = realpathSync(mkdtempSync(join(folder, 'express-van-bench-')))
  }

  /** On a file system in memory, where there is one: to make and remove so many folders on disk takes minutes. */
  static inMemory(): Sites {
    return new Sites(existsSync(MEMORY) ? MEMORY : tmpdir())
  }

  /** Makes vhosts whose apps all have this source, and gives their names. */
  add(count: number, source: string): string[] {
    const hosts = hostnames(count)
    for (const host of hosts) {
      mkdirSync(join(this.base, host, 'app'), { recursive: true })
      writeFileSync(join(this.base, host, 'app', 'index.js'), source)
    }
    return hosts
  }

  addEmptyFolders(count: number): void {
    for (let n = 0; n < count; n++) mkdirSync(join(this.base, `empty-${n}.bench.test`))
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}

export function hostnames(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `host-${n}.bench.test`)
}

/** An app of its own, as small as an app can be. */
export const SMALL_APP = `module.exports = (req, res) => res.end('hello')\n`
