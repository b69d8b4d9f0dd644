import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { debug } from '../events.ts'

/** Bytes that an app may have besides its JavaScript heap: Node itself takes about 40 MiB, the rest is for buffers. */
const BESIDE_HEAP = 128 * 2 ** 20
/** Errors that do not mean a missing right to make cgroups: the process has already ended, or no descriptor is left. */
const PASSING = new Set(['ESRCH', 'EMFILE', 'ENFILE'])
/** In milliseconds: killed processes are not gone at once. */
const REMOVAL_PAUSE = 100
const MAX_REMOVALS = 50

/** A folder of the kernel that limits the memory of the processes in it: see cgroups(7). */
export interface MemoryCgroup {
  /** Ends what is left in it. Settles when the folder is gone, or cannot be removed. */
  remove(): Promise<void>
}

/** Limits all the memory of a process, not only its heap, if this process may make cgroups. */
export class MemoryCgroups {
  // Unique to this router: a router that ends removes only its own empty cgroups, as others may be about to fill
  // theirs.
  readonly #name = `express-van-${process.pid}-${randomBytes(4).toString('hex')}-`
  #made = 0
  #parents = parentCgroups(readText('/proc/self/cgroup'), readText('/proc/self/mounts'))

  /** How the paths of all cgroups that are made here begin, up to the process id; empty if none can be made. */
  get prefix(): string {
    const [parent] = this.#parents
    return parent === undefined ? '' : join(parent.folder, this.#name)
  }

  /**
   * `heap` is in bytes; `BESIDE_HEAP` comes on top. Takes a while, as the kernel waits for all processors. Undefined if
   * no cgroup could be made; never rejects.
   */
  async limit(pid: number, heap: number): Promise<MemoryCgroup | undefined> {
    for (const parent of this.#parents) {
      const folder = join(parent.folder, `${this.#name}${pid}-${++this.#made}`)
      try {
        return await limited(folder, parent, pid, heap + BESIDE_HEAP)
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        debug('no cgroup for memory: %s', message)
        if (code !== undefined && PASSING.has(code)) return undefined
        this.#parents = this.#parents.filter(other => other !== parent)
      }
    }
    return undefined
  }
}

export interface ParentCgroup {
  readonly folder: string
  readonly limitFile: 'memory.max' | 'memory.limit_in_bytes'
}

/**
 * Where this process could make cgroups, according to `/proc/self/cgroup` and `/proc/self/mounts`. With version 2, a
 * cgroup that holds processes cannot pass memory on to those below. So its parent is used, if this process may write
 * there, too: systemd's `Delegate=yes` with `DelegateSubgroup=`.
 */
export function parentCgroups(cgroup: string, mounts: string): ParentCgroup[] {
  const places = mounts.split('\n').map(line => line.split(' '))
  const own = new Map(
    [...cgroup.matchAll(/^\d+:([^:]*):(.*)$/gm)].map(([, controllers = '', path = '']) => [
      controllers,
      path,
    ]),
  )
  const parents: ParentCgroup[] = []
  const first = places.find(
    ([, , type, flags = '']) => type === 'cgroup' && flags.split(',').includes('memory'),
  )?.[1]
  const firstPath = own.get('memory')
  if (first && firstPath) parents.push({ folder: join(first, firstPath), limitFile: 'memory.limit_in_bytes' })
  const second = places.find(([, , type]) => type === 'cgroup2')?.[1]
  const secondPath = own.get('')
  if (second && secondPath && secondPath !== '/' && !/\.(?:service|scope|slice)$/.test(secondPath)) {
    parents.push({ folder: join(second, dirname(secondPath)), limitFile: 'memory.max' })
  }
  return parents
}

async function limited(
  folder: string,
  { folder: parent, limitFile }: ParentCgroup,
  pid: number,
  limit: number,
): Promise<MemoryCgroup> {
  // With version 2, a cgroup passes on only the controllers that it was told to.
  if (limitFile === 'memory.max') await writeFile(join(parent, 'cgroup.subtree_control'), '+memory')
  await mkdir(folder)
  try {
    await writeFile(join(folder, limitFile), String(limit))
    await writeFile(join(folder, 'cgroup.procs'), String(pid))
  } catch (error) {
    await rmdir(folder).catch(() => {})
    throw error
  }
  return { remove: () => removed(folder) }
}

async function removed(folder: string): Promise<void> {
  for (let attempt = 0; attempt < MAX_REMOVALS; attempt++) {
    await killAll(folder)
    try {
      await rmdir(folder)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return
      await delay(REMOVAL_PAUSE, undefined, { ref: false })
    }
  }
}

/** Not by `cgroup.kill`, which version 1 does not have. */
async function killAll(folder: string): Promise<void> {
  const pids = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '')
  for (const pid of pids.split('\n').map(Number)) {
    try {
      // 0 stands for a process of another namespace; to kill(2) it means this whole process group.
      if (pid > 0) process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
