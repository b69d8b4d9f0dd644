import { readFileSync } from 'node:fs'

/** Why this many watches are not available here; undefined if they are, or if the limit is unknown. */
export function tooManyWatches(wanted: number): string | undefined {
  const limit = Number(readLimit('max_user_watches'))
  if (Number.isNaN(limit) || wanted <= limit) return undefined
  return `needs ${wanted} inotify watches, and fs.inotify.max_user_watches is ${limit}`
}

function readLimit(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/fs/inotify/${name}`, 'utf8')
  } catch {
    // Linux only.
    return undefined
  }
}
