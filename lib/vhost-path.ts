import { lstat, promises, realpath } from 'node:fs'
import { parse, posix, resolve, sep } from 'node:path'
import { identityOf, isGone, statOf, unlessGone } from './gone.ts'
import { isDosDevice } from './hostname.ts'
import { optionError } from './option-error.ts'

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
  /** Whether the folder is this hostname's alone, so that it was made for it, as no wildcard or default is. */
  readonly isExact: boolean
  /** When the reading began, by `performance.now()`: of two that differ, the later one counts. */
  readonly readAt: number
}

/** What decides where the folder of a hostname lies. `basePath` is absolute. */
export interface PathSettings {
  readonly basePath: string
  /** Hostnames that lead nowhere, whatever is there. */
  readonly reserved?: ReadonlySet<string>
  readonly vhostPatterns: readonly VhostPattern[]
  readonly getVhostPath?: ((hostname: string) => string | undefined | Promise<string | undefined>) | undefined
}

/** A pattern of `vhostDir`, compiled. */
export interface VhostPattern {
  /** As it was written. */
  readonly text: string
  /** A path relative to the base path, or nothing where the hostname leads nowhere safe. */
  readonly pathOf: (hostname: string) => string | undefined
  readonly capturesOf: (hostname: string) => readonly string[]
  /** Whether every label of the hostname stands in the path as a whole, so that no other one has the same path. */
  readonly isExact: (hostname: string) => boolean
}

/**
 * Compiles a pattern in the notation of Apache's mod_vhost_alias (`%0`, `%-2+`, `%2.1`, `%p`, `%%`) to a function
 * that gives the path of a hostname. What the hostname lacks becomes `_`.
 *
 * @throws TypeError `ERR_VHOST_OPTION` where the pattern is empty or a specifier in it is malformed.
 */
export function vhostAlias(pattern: string): (hostname: string, port?: number) => string {
  const parts = parsePattern(pattern)
  return function vhostAliasPath(hostname: string, port = 80): string {
    const labels = labelsOf(hostname)
    const path = parts.map(part => textOf(part, labels, port)).join('')
    return path.endsWith('/') ? path.slice(0, -1) : path
  }
}

/**
 * Compiles `vhostDir`.
 *
 * @throws TypeError `ERR_VHOST_OPTION` where a pattern is malformed or could lead out of the base path.
 */
export function compileVhostDir(vhostDir: string | readonly string[]): readonly VhostPattern[] {
  const patterns = typeof vhostDir === 'string' ? [vhostDir] : vhostDir
  if (patterns.length === 0) throw optionError('vhostDir: the array is empty')
  return patterns.map(compilePattern)
}

/** Is told an error, or what was found, or neither where nothing is there. */
type Done<T> = (error: unknown, found?: T | undefined) => void

/**
 * Where the folder of a hostname lies now; nothing where there is no such vhost. An error that does not say so
 * much, such as EMFILE or EIO, rejects: what is loaded must not be taken for deleted by it. A look is saved where
 * the name is known to lead somewhere.
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
 * As `locateVhost`, with a callback: strangers make names up by the million, and one that leads nowhere costs an
 * `lstat` for each pattern and no promise.
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
  const { getVhostPath } = settings
  const placed: Done<Place> = (error, place) => {
    if (place) tell(followPlace(hostname, place, readAt, settings), done)
    else done(error)
  }
  if (getVhostPath) tell(askPath(hostname, settings, getVhostPath), placed)
  else searchPatterns(hostname, settings, isKnown, 0, placed)
}

// A folder of packages beside the vhosts is common; its parts must not be had by asking for them.
const RESERVED = 'node_modules'
// Apache splits a name at its first 18 dots; the rest is one last label.
const MAX_DOTS = 18
const CLOSED = ['ENOTDIR', 'ELOOP', 'ENAMETOOLONG']
const isWindows = process.platform === 'win32'

const PORT = Symbol('%p')

/** `%N.M`: of the labels of a hostname those that are meant, of their characters those that are meant. */
interface Specifier {
  readonly labels: Selection
  readonly characters: Selection
}

type Part = string | Specifier | typeof PORT

function parsePattern(pattern: string): Part[] {
  if (typeof pattern !== 'string' || pattern === '') {
    throw optionError(`A pattern is a string that is not empty, not ${JSON.stringify(pattern)}`)
  }
  // A dot after %N always begins .M, so there must be one: it is `%0.0.static`, not `%0.static`.
  const token = /[^%]|%(?:([%p])|(-?)(\d)(\+|(?!\+))(?:\.(-?)(\d)(\+?)|(?!\.)))/y
  const parts: Part[] = []
  while (token.lastIndex < pattern.length) {
    const start = token.lastIndex
    const match = token.exec(pattern)
    if (match === null) throw badSpecifier(pattern, start)
    const [text, sign, nDash, n, nPlus, mDash, m, mPlus] = match
    if (sign === '%') parts.push('%')
    else if (sign === 'p') parts.push(PORT)
    else if (n === undefined) parts.push(text)
    else parts.push({ labels: selection(nDash, n, nPlus), characters: selection(mDash, m, mPlus) })
  }
  return parts
}

function badSpecifier(pattern: string, start: number): TypeError {
  const specifier = `%${pattern.slice(start + 1).split(/[%/]/, 1)}`
  return optionError(
    `${JSON.stringify(specifier)} in the pattern ${JSON.stringify(pattern)} is none of %%, %p, %N, %-N, %N+, %N.M; ` +
      'a dot after %N begins .M, so write %N.0 before one that is meant as such',
  )
}

/** Which of a row of items is meant: the nth, from the start or the end, alone or with all beyond it; 0 = all. */
interface Selection {
  readonly n: number
  readonly isFromEnd: boolean
  readonly isOpen: boolean
}

function selection(dash: string | undefined, n: string | undefined, plus: string | undefined): Selection {
  return { n: Number(n ?? 0), isFromEnd: dash === '-', isOpen: plus === '+' }
}

function textOf(part: Part, labels: readonly string[], port: number): string {
  if (part === PORT) return String(port)
  return typeof part === 'string' ? part : captureOf(part, labels)
}

function captureOf(specifier: Specifier, labels: readonly string[]): string {
  const whole = select(labels, specifier.labels, '.')
  return specifier.characters.n === 0 ? whole : select(whole.split(''), specifier.characters, '')
}

function select(items: readonly string[], selection: Selection, joint: string): string {
  if (selection.n === 0) return items.join(joint)
  const range = rangeOf(items.length, selection)
  return range ? items.slice(...range).join(joint) : '_'
}

/** Where the items that are meant begin and end; nothing where there are too few. */
function rangeOf(
  length: number,
  { n, isFromEnd, isOpen }: Selection,
): [start: number, end: number] | undefined {
  if (n === 0) return [0, length]
  if (n > length) return undefined
  const index = isFromEnd ? length - n : n - 1
  return [isOpen && isFromEnd ? 0 : index, isOpen && !isFromEnd ? length : index + 1]
}

function labelsOf(hostname: string): string[] {
  const name = isIPv6Literal(hostname) ? hostname.slice(1, -1) : hostname
  const labels = lowered(name).split('.')
  return labels.length <= MAX_DOTS ? labels : [...labels.slice(0, MAX_DOTS), labels.slice(MAX_DOTS).join('.')]
}

// ASCII alone, as Apache does it. Nearly every name is in lower case already.
function lowered(name: string): string {
  return /[A-Z]/.test(name) ? name.replace(/[A-Z]/g, letter => letter.toLowerCase()) : name
}

function isIPv6Literal(hostname: string): boolean {
  return hostname.startsWith('[')
}

function compilePattern(pattern: string): VhostPattern {
  const toPath = vhostAlias(pattern)
  checkPattern(pattern)
  const parts = parsePattern(pattern)
  const specifiers = parts.filter(part => typeof part === 'object')
  const isUnambiguous = areApart(parts)
  // No specifier holds or gives a slash, so the segments of pattern and path are the same in number.
  const isHidden = pattern.split('/').map(segment => segment.startsWith('.'))
  return {
    text: pattern,
    pathOf(hostname) {
      if (isIPv6Literal(hostname) || hostname.includes('/')) return undefined
      const path = toPath(hostname)
      return path.split('/').every((segment, index) => isSafe(segment, isHidden[index] === true))
        ? path
        : undefined
    },
    capturesOf(hostname) {
      const labels = labelsOf(hostname)
      return specifiers.map(specifier => captureOf(specifier, labels))
    },
    isExact(hostname) {
      if (!isUnambiguous) return false
      const { length } = labelsOf(hostname)
      const whole = specifiers.filter(({ characters }) => characters.n === 0)
      const ranges = whole.map(({ labels }) => rangeOf(length, labels)).filter(range => range !== undefined)
      return Array.from({ length }, (_, label) => label).every(label =>
        ranges.some(([start, end]) => start <= label && label < end),
      )
    },
  }
}

// Of `%1%2` nobody can tell whether `abc` is `a.bc` or `ab.c`. A literal part is one character.
function areApart(parts: readonly Part[]): boolean {
  let isAfterSpecifier = false
  for (const part of parts) {
    if (typeof part === 'object') {
      if (isAfterSpecifier) return false
      isAfterSpecifier = true
    } else if (part === '.' || part === '/') {
      isAfterSpecifier = false
    }
  }
  return true
}

function checkPattern(pattern: string): void {
  const segments = pattern.split('/')
  const problem =
    (pattern.match(/%./g)?.includes('%p') && '%p would let the client choose the folder by a port') ||
    (parse(pattern).root !== '' && 'the path must be relative to basePath') ||
    (segments.includes('.') && 'a segment is "."') ||
    (segments.includes('..') && 'a segment is ".."') ||
    (pattern.includes('\\') && 'there is a backslash; write "/" on every system') ||
    (pattern.includes('\0') && 'there is a NUL')
  if (problem) throw optionError(`vhostDir: ${JSON.stringify(pattern)}: ${problem}`)
}

// `%0.3+` would make `.git` of the hostname `xx.git`: only the pattern itself may begin a segment with a dot.
function isSafe(segment: string, isHidden: boolean): boolean {
  if (segment === '' || segment === '.' || segment === '..' || segment === RESERVED) return false
  if (segment.startsWith('.') && !isHidden) return false
  // Windows drops a trailing dot, so that `a.` would be a second name of `a`.
  return !isWindows || !(segment.endsWith('.') || isDosDevice(segment))
}

type Place = Pick<VhostLocation, 'vhostPath' | 'skipped' | 'captures' | 'isExact'>

async function askPath(
  hostname: string,
  { basePath }: PathSettings,
  getVhostPath: NonNullable<PathSettings['getVhostPath']>,
): Promise<Place | undefined> {
  const path = await getVhostPath(hostname)
  if (path === undefined) return undefined
  const vhostPath = resolve(basePath, path)
  // Whose folder it is nobody says, unless it bears the name. The base path is not part of any answer.
  const own = vhostPath.startsWith(basePath + sep) ? vhostPath.slice(basePath.length) : vhostPath
  return { vhostPath, skipped: 0, captures: [], isExact: own.split(sep).includes(hostname) }
}

function searchPatterns(
  hostname: string,
  settings: PathSettings,
  isKnown: boolean,
  skipped: number,
  done: Done<Place>,
): void {
  const { basePath, vhostPatterns } = settings
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
  const vhostPath = resolve(basePath, relativePath)
  const look = (error: unknown): void => {
    if (!error) {
      done(null, {
        vhostPath,
        skipped,
        captures: pattern.capturesOf(hostname),
        isExact: pattern.isExact(hostname),
      })
    } else if (!hasCode(error, ['ENOENT'])) {
      // A deploy that is broken, or that we may not see, must not be answered by the catch-all that comes after it.
      done(hasCode(error, CLOSED) ? null : error)
    } else if (isLast) {
      done(null)
    } else {
      tell(isBelowDanglingLink(basePath, relativePath), (problem, isBelow) =>
        problem || isBelow ? done(problem) : next(),
      )
    }
  }
  // The last one is followed wherever it leads, so to look at it first is to save that where it leads nowhere.
  if (isLast && isKnown) look(null)
  else lstat(vhostPath, look)
}

async function followPlace(
  hostname: string,
  { vhostPath, ...how }: Place,
  readAt: number,
  settings: PathSettings,
): Promise<VhostLocation | undefined> {
  const realPath = await realPathOf(vhostPath)
  if (realPath === undefined) return undefined
  const stats = await statOf(realPath)
  // Deleted just now: by a deploy that has flipped the link before, if it was one.
  if (!stats) return await locateVhost(hostname, settings)
  if (!stats.isDirectory() || (await containsBasePath(realPath, settings.basePath))) return undefined
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

// Everything in the base path would be part of such a vhost, the other vhosts too.
/** Rejects where the disk cannot tell. */
export async function containsBasePath(realPath: string, basePath: string): Promise<boolean> {
  if (realPath.startsWith(basePath + sep)) return false
  // With `getVhostPath` the base path may well not exist.
  const realBasePath = (await realPathOf(basePath)) ?? basePath
  return (
    realBasePath === realPath || realBasePath.startsWith(realPath.endsWith(sep) ? realPath : realPath + sep)
  )
}

// By node:fs/promises it costs three times as much.
function realPathOf(path: string): Promise<string | undefined> {
  return new Promise((done, reject) => {
    realpath.native(path, (error, realPath) => {
      if (!error) done(realPath)
      // What is no longer than a host may be can still be too long for a file name.
      else if (isGone(error) || hasCode(error, ['ENAMETOOLONG'])) done(undefined)
      else reject(error)
    })
  })
}

function tell<T>(promise: Promise<T | undefined>, done: Done<T>): void {
  promise.then(
    found => done(null, found),
    // Who rejects with nothing does not say that nothing is there.
    error => done(error ?? new Error('getVhostPath() rejected with nothing')),
  )
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes(String((error as NodeJS.ErrnoException).code))
}
