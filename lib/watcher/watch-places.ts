import { lstat, readlink } from 'node:fs'
import { basename, dirname, isAbsolute, join, parse, sep } from 'node:path'
import { isGone } from '../files/gone.ts'

/** Folders to watch, each with the names in it that matter; undefined: all of them. */
export type Places = Map<string, readonly string[] | undefined>

/** Where the link at a path leads; undefined: it is not a link; null: nothing is there. */
type Target = string | undefined | null
/** What was looked at for one set of places, so that nothing is looked at twice. */
export type SeenLinks = Map<string, Promise<Target>>

/** As many links as Linux follows. */
const MAX_LINKS = 40

/**
 * Adds what to watch in order to hear when another file or folder stands at a path: each folder on the way that holds a
 * symlink, for every name in it that the way passes, and the folder that the path itself leads to, for `names` in it,
 * or the one in which the next step is missing. Resolves to whether the path leads anywhere.
 */
export async function addPlaces(
  places: Places,
  path: string,
  names?: readonly string[],
  seen: SeenLinks = new Map(),
): Promise<boolean> {
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
    const target = await targetAt(join(here, name), seen)
    if (target === null) {
      add(places, here, [name])
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
  // Such as `releases` of `current -> releases/1`: its folder is watched anyway, so its renaming is heard too.
  for (const [folder, name] of passed) if (places.has(folder)) add(places, folder, [name])
  return isThere
}

/**
 * Whether an event in a watched folder is about the folder itself: it comes with the folder's own name, or with none.
 */
export function isOwnEvent(folder: string, name: string | null): boolean {
  return name === null || name === basename(folder)
}

function add(places: Places, folder: string, names: readonly string[] | undefined): void {
  const known = places.get(folder)
  if (names === undefined || (known === undefined && places.has(folder))) places.set(folder, undefined)
  else if (known === undefined) places.set(folder, names)
  else if (!names.every(name => known.includes(name))) places.set(folder, [...new Set([...known, ...names])])
}

function targetAt(path: string, seen: SeenLinks): Promise<Target> {
  const target = seen.get(path) ?? lookAt(path)
  seen.set(path, target)
  return target
}

function lookAt(path: string): Promise<Target> {
  return new Promise(resolve => {
    // What cannot be read is left to the interval.
    const unread = (error: unknown): void => resolve(isGone(error) ? null : undefined)
    // Not readlink() alone: if there is no link it makes an error, which costs more than the look.
    lstat(path, (error, stats) => {
      if (error) unread(error)
      else if (!stats.isSymbolicLink()) resolve(undefined)
      else readlink(path, (error, target) => (error ? unread(error) : resolve(target)))
    })
  })
}
