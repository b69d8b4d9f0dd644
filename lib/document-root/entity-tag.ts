import type { Stats } from 'node:fs'

/**
 * Tells a file from another at its URL (RFC 9110 §8.8.3), even from one of the same size and modification time, which
 * reproducible builds give to all their files. Nobody can set a file's change time or inode.
 */
export function entityTag({ size, mtime, ctime, ino }: Stats): string {
  const numbers = [size, mtime.getTime(), ctime.getTime(), ino]
  return `W/"${numbers.map(number => number.toString(16)).join('-')}"`
}
