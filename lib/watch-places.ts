import { readlink } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, parse, sep } from 'node:path'
import { unlessGone } from './gone.ts'

/** Folders to watch, each with the names in it that matter; undefined: all of them. */
export type Places = Map<string, readonly string[] | undefined>

/** As many links as Linux follows. */
const MAX_LINKS = 40

/**
 * What to watch, so as to hear when another file or folder stands at a path: each folder that holds a symlink on the
 * way, for all that the way leads through in it, and the folder that the path itself leads to, for `names` in it.
 * Resolves to whether it leads anywhere.
 */
export async function addPlaces(places: Places, path: string, names?: readonly string[]): Promise<boolean> {
  const { root } = parse(path)
  const ahead = path.slice(root.length).split(sep)
  const passed: [folder: string, name: string][] = []
  let here = root
  let links = 0
  let isThere = true
  while (ahead.length > 0 && isThere) {
    const name = ahead.shift() as string
    if (name === '' || name === '.') continue
    if (name === '..') {
      here = dirname(here)
      continue
    }
    passed.push([here, name])
    const target = await linkAt(join(here, name))
    if (target === null) {
      isThere = false
    } else if (target === undefined) {
      here = join(here, name)
    } else {
      add(places, here, [name])
      if (++links > MAX_LINKS) isThere = false
      if (isAbsolute(target)) here = parse(target).root
      ahead.unshift(...target.split(sep))
    }
  }
  if (isThere) add(places, here, names)
  // `releases` of `current -> releases/1`: a watch is there anyway, so its renaming is heard too.
  for (const [folder, name] of passed) if (places.has(folder)) add(places, folder, [name])
  return isThere
}

/** Whether an event in a watched folder is one of the folder itself, which comes with its own name, or none. */
export function isOwnEvent(folder: string, name: string | null): boolean {
  return name === null || name === basename(folder)
}

function add(places: Places, folder: string, names: readonly string[] | undefined): void {
  const known = places.get(folder)
  if (names === undefined || (known === undefined && places.has(folder))) places.set(folder, undefined)
  else if (known === undefined) places.set(folder, names)
  else if (!names.every(name => known.includes(name))) places.set(folder, [...new Set([...known, ...names])])
}

/** Where a link leads; undefined: no link; null: nothing there. */
async function linkAt(path: string): Promise<string | undefined | null> {
  try {
    return (await unlessGone(readlink(path))) ?? null
  } catch {
    // EINVAL: a file or folder. What cannot be read is left to the poll.
    return undefined
  }
}
