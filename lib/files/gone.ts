import { type BigIntStats, stat } from 'node:fs'

const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/** Resolves to undefined if nothing is at the path; any other error of the file system rejects. */
export async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** Whether an error of the file system says that nothing is there, rather than that it cannot be read now. */
export function isGone(error: unknown): boolean {
  return GONE.has((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/**
 * With this, Node 24.14, 25.7 and later make no error if nothing is there, which would cost half as much as the look
 * itself; older ones make it all the same.
 */
export const NO_ERROR: object = { throwIfNoEntry: false }

/**
 * What is at a path, with links followed; undefined if nothing is. With a callback a look costs half as much as by
 * node:fs/promises, and every vhost is read again and again.
 */
export function statOf(path: string): Promise<BigIntStats | undefined> {
  return new Promise((resolve, reject) => {
    stat(path, { bigint: true, ...NO_ERROR }, (error, stats) => {
      if (!error) resolve(stats)
      else if (isGone(error)) resolve(undefined)
      else reject(error)
    })
  })
}

/** Device and inode: what tells a folder from another that is there at the same time. */
export function identityOf({ dev, ino }: BigIntStats): string {
  // By join(): a template literal stays in memory as the tree of its parts.
  return [dev, ino].join(':')
}
