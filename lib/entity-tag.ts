import type { Stats } from 'node:fs'

/**
 * What tells a file from another at its URL (RFC 9110 §8.8.3): also from one of the same size that was given the same
 * time, as reproducible builds do it for all their files. Its change time and its inode nobody can set.
 */
export function entityTag({ size, mtime, ctime, ino }: Stats): string {
  const numbers = [size, mtime.getTime(), ctime.getTime(), ino]
  return `W/"${numbers.map(number => number.toString(16)).join('-')}"`
}
