import { lstat, promises, realpath, stat } from 'node:fs'
import { posix, resolve, sep } from 'node:path'
import { identityOf, isGone, NO_ERROR, statOf, unlessGone } from './files/gone.ts'
import { isBelow, isWithin } from './files/is-within.ts'
import { optionError, shown } from './options/option-error.ts'
import { isIPv6Literal } from './vhost-alias.ts'
import { expectOwnLinks } from './vhost-path/owned-links.ts'
import { RESERVED, type VhostPattern } from './vhost-path/vhost-pattern.ts'

/** Where the folder of a hostname lies. */
export interface VhostLocation {
  readonly vhostPath: string
  readonly realPath: string
  /** Device and inode of the real path. */
  readonly identity: string
  /** How many patterns were passed over. */
  readonly skipped: number
  /** What each specifier of the pattern that led here stands for, in order; none with `getVhostPath`. */
  readonly captures: readonly string[]
  /** Whether the folder was made for this hostname alone, as no wildcard or default is. */
  readonly isExact: boolean
  /** When the reading began, by `performance.now()`: of two that differ, the later one counts. */
  readonly readAt: number
  /** Set if it was not read now, because other hostnames are served from there. */
  readonly isServing?: true
}

/** Where a hostname is served from, or is to be. */
export type VhostPlace = Pick<VhostLocation, 'vhostPath' | 'realPath'>

/** What decides where the folder of a hostname lies. `basePath` is absolute. */
export interface PathSettings {
  readonly basePath: string
  /** Hostnames that lead nowhere, whatever is on disk. */
  readonly reserved?: ReadonlySet<string>
  readonly vhostPatterns: readonly VhostPattern[]
  /** With `'owner'`, no user's link can lead to what is another's. */
  readonly user?: 'owner' | undefined
  readonly getVhostPath?: ((hostname: string) => string | undefined | Promise<string | undefined>) | undefined
  /**
   * The release that serves other hostnames from the same folder, which a wildcard leads to: it serves one more,
   * whatever is in the folder now.
   */
  readonly servedFrom?: ((vhostPath: string) => Served | undefined) | undefined
}

type Served = Pick<VhostLocation, 'realPath' | 'identity' | 'readAt'>

/** Called with an error, with what was found, or with neither if nothing is there. */
type Done<T> = (error: unknown, found?: T | undefined) => void

/**
 * Where the folder of a hostname lies now; undefined if there is no such vhost. Any other error, such as EMFILE or EIO,
 * rejects: it must not make what is loaded pass for deleted. `isKnown` saves a look if the hostname is known to lead
 * somewhere.
 */
export function locateVhost(
  hostname: string,
  settings: PathSettings,
  isKnown = false,
): Promise<VhostLocation | undefined> {
  return new Promise((resolve, reject) => {
    const done: Done<VhostLocation> = (error, location) => (error ? reject(error) : resolve(location))
    seekVhost(hostname, settings, done, isKnown)
  })
}

/**
 * As `locateVhost`, with a callback: strangers make names up by the million, and one that leads nowhere costs one look
 * for each pattern and no promise.
 */
export function seekVhost(
  hostname: string,
  settings: PathSettings,
  done: Done<VhostLocation>,
  isKnown: boolean,
): void {
  if (isIPv6Literal(hostname) || hostname === RESERVED || settings.reserved?.has(hostname)) {
    done(null)
    return
  }
  const readAt = performance.now()
  const { getVhostPath, servedFrom } = settings
  const seen: Done<Spot> = (error, spot) => {
    const served = spot && servedFrom?.(spot.vhostPath)
    if (served) {
      const { realPath, identity, readAt } = served
      done(null, { ...spot, realPath, identity, readAt, isServing: true })
    } else if (spot) tell(followSpot(hostname, spot, readAt, settings), done)
    else done(error)
  }
  if (getVhostPath) tell(askPath(hostname, settings, getVhostPath), seen)
  else searchPatterns(hostname, settings, isKnown, 0, seen)
}

const CLOSED = ['ENOTDIR', 'ELOOP', 'ENAMETOOLONG']

/** Where the folder of a hostname should lie, before links are followed. */
type Spot = Pick<VhostLocation, 'vhostPath' | 'skipped' | 'captures' | 'isExact'>

async function askPath(
  hostname: string,
  { basePath }: PathSettings,
  getVhostPath: NonNullable<PathSettings['getVhostPath']>,
): Promise<Spot | undefined> {
  const path: unknown = await getVhostPath(hostname)
  // A look-up in a table may give null.
  if (path === undefined || path === null) return undefined
  if (typeof path !== 'string')
    throw optionError(`option 'getVhostPath' must give a path, not ${shown(path)}`)
  const vhostPath = resolve(basePath, path)
  // A folder is known to be this hostname's own only if it bears the name. The base path is not part of any answer.
  const own = isBelow(vhostPath, basePath) ? vhostPath.slice(basePath.length) : vhostPath
  return { vhostPath, skipped: 0, captures: [], isExact: own.split(sep).includes(hostname) }
}

function searchPatterns(
  hostname: string,
  settings: PathSettings,
  isKnown: boolean,
  skipped: number,
  done: Done<Spot>,
): void {
  const { basePath, vhostPatterns, servedFrom } = settings
  const pattern = vhostPatterns[skipped]
  if (!pattern) {
    done(null)
    return
  }
  const next = (): void => searchPatterns(hostname, settings, isKnown, skipped + 1, done)
  const relativePath = pattern.pathOf(hostname)
  if (relativePath === undefined) {
    next()
    return
  }
  const isLast = skipped === vhostPatterns.length - 1
  const look = (error: unknown): void => {
    if (!error) {
      done(null, {
        vhostPath: resolve(basePath, relativePath),
        skipped,
        captures: pattern.capturesOf(hostname),
        isExact: pattern.isExact(hostname),
      })
    } else if (!hasCode(error, ['ENOENT'])) {
      // A deploy that is broken, or that we may not see, must not be answered by a catch-all that comes after it.
      done(hasCode(error, CLOSED) ? null : error)
    } else if (isLast) {
      done(null)
    } else {
      tell(isBelowDanglingLink(basePath, relativePath), (problem, isBelow) =>
        problem || isBelow ? done(problem) : next(),
      )
    }
  }
  const path = `${basePath}/${relativePath}`
  // The last path is followed wherever it leads; a look at it first saves that if it leads nowhere.
  if (servedFrom?.(path)) look(null)
  else if (!isLast) lstat(path, look)
  else if (isKnown) look(null)
  else stat(path, NO_ERROR, (error, stats) => (error || stats ? look(error) : done(null)))
}

async function followSpot(
  hostname: string,
  spot: Spot,
  readAt: number,
  settings: PathSettings,
  isAgain = false,
): Promise<VhostLocation | undefined> {
  const { vhostPath, ...how } = spot
  const realPath = await realPathOf(vhostPath)
  if (realPath === undefined) return undefined
  const stats = await statOf(realPath)
  // The real path is not UTF-8: as text it leads nowhere, and it would be looked for without end.
  if (!stats && realPath.includes('\ufffd')) throw new Error(`not a path in UTF-8: ${realPath}`)
  // Deleted just now, perhaps by a deploy that flipped a link before: look again.
  if (!stats) return await locateVhost(hostname, settings)
  if (!stats.isDirectory() || (await containsBasePath(realPath, settings.basePath))) return undefined
  if (settings.user === 'owner') {
    try {
      await expectOwnLinks(vhostPath, { realPath, uid: Number(stats.uid) }, settings.basePath)
    } catch (error) {
      // A deploy may have deleted or re-pointed it just now. If that happens again, it is refused.
      if (isAgain || (await realPathOf(vhostPath)) === realPath) throw error
      return await followSpot(hostname, spot, performance.now(), settings, true)
    }
  }
  return { vhostPath, realPath, identity: identityOf(stats), readAt, ...how }
}

async function isBelowDanglingLink(basePath: string, relativePath: string): Promise<boolean> {
  const above = posix.dirname(relativePath)
  if (above === '.') return false
  const path = resolve(basePath, above)
  const stats = await unlessGone(promises.lstat(path))
  if (!stats) return await isBelowDanglingLink(basePath, above)
  return stats.isSymbolicLink() && (await statOf(path)) === undefined
}

/** Whether a real path contains the base path, and so all other vhosts. Rejects if the disk cannot tell. */
export async function containsBasePath(realPath: string, basePath: string): Promise<boolean> {
  if (isBelow(realPath, basePath)) return false
  // With `getVhostPath` the base path need not exist.
  const realBasePath = (await realPathOf(basePath)) ?? basePath
  return isWithin(realBasePath, realPath)
}

// With node:fs/promises it costs three times as much.
function realPathOf(path: string): Promise<string | undefined> {
  return new Promise((done, reject) => {
    realpath.native(path, (error, realPath) => {
      if (!error) done(realPath)
      // A name that is short enough for a host can still be too long for a file.
      else if (isGone(error) || hasCode(error, ['ENAMETOOLONG'])) done(undefined)
      else reject(error)
    })
  })
}

function tell<T>(promise: Promise<T | undefined>, done: Done<T>): void {
  promise.then(
    found => done(null, found),
    // To reject with nothing does not say that nothing is there.
    error => done(error ?? new Error('getVhostPath() rejected with nothing')),
  )
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes(String((error as NodeJS.ErrnoException).code))
}
