import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { debug } from '../events.ts'

/** Bytes that an app may have beside its JavaScript heap: Node itself takes about 40 MiB, the rest is for buffers. */
const BESIDE_HEAP = 128 * 2 ** 20
/** They say nothing of the right to make cgroups: the process has ended already, no descriptor is left. */
const PASSING = new Set(['ESRCH', 'EMFILE', 'ENFILE'])
/** Milliseconds: what was killed is not gone at once. */
const REMOVAL_PAUSE = 100
const MAX_REMOVALS = 50

/** A folder of the kernel's that limits the memory of the processes in it: cgroups(7). */
export interface MemoryCgroup {
  /** Ends what is left in it. Settles when it is gone, or will not go. */
  remove(): Promise<void>
}

/** Limits all the memory of a process, not only its heap, where this process may make cgroups. */
export class MemoryCgroups {
  // Of its own: a router that ends removes what is empty of its own alone, where others may be about to fill theirs.
  readonly #name = `express-van-${process.pid}-${randomBytes(4).toString('hex')}-`
  #made = 0
  #parents = parentCgroups(readText('/proc/self/cgroup'), readText('/proc/self/mounts'))

  /** With what the paths of all that are made here begin, before the process id; empty where none can be made. */
  get prefix(): string {
    const [parent] = this.#parents
    return parent === undefined ? '' : join(parent.folder, this.#name)
  }

  /**
   * `heap` is in bytes; so many more are allowed beside it. Takes its time, as the kernel waits for all processors.
   * Undefined where there is no such right; never rejects.
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
 * Where cgroups of one's own could be made, by what `/proc/self/cgroup` and `/proc/self/mounts` say. With version 2 a
 * cgroup that has processes in it cannot pass memory on to those below, so it is the one above, where that is one's
 * own: systemd's `Delegate=yes` with `DelegateSubgroup=`.
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
  // With version 2 a cgroup passes on what it was told to.
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
      // 0 stands for a process of another namespace, and for kill(2) for all of this group.
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
