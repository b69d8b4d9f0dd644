import { lstat, realpath, stat } from 'node:fs/promises'
import { parse, posix, resolve, sep } from 'node:path'
import { isGone, unlessGone } from './gone.ts'
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
  /** When the reading began, by `performance.now()`: of two that differ, the later one counts. */
  readonly readAt: number
}

/** What decides where the folder of a hostname lies. `basePath` is absolute. */
export interface PathSettings {
  readonly basePath: string
  readonly vhostPaths: readonly ((hostname: string) => string | undefined)[]
  readonly getVhostPath?: ((hostname: string) => string | undefined | Promise<string | undefined>) | undefined
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
    const path = parts.map(part => (typeof part === 'string' ? part : part(labels, port))).join('')
    return path.endsWith('/') ? path.slice(0, -1) : path
  }
}

/**
 * Compiles `vhostDir`: each pattern gives a path relative to the base path, or nothing where the hostname leads
 * nowhere safe.
 *
 * @throws TypeError `ERR_VHOST_OPTION` where a pattern is malformed or could lead out of the base path.
 */
export function compileVhostDir(
  vhostDir: string | readonly string[],
): readonly ((hostname: string) => string | undefined)[] {
  const patterns = typeof vhostDir === 'string' ? [vhostDir] : vhostDir
  if (patterns.length === 0) throw optionError('vhostDir: the array is empty')
  return patterns.map(compilePattern)
}

/**
 * Where the folder of a hostname lies now; nothing where there is no such vhost. An error that does not say so
 * much, such as EMFILE or EIO, rejects: what is loaded must not be taken for deleted by it.
 */
export async function locateVhost(
  hostname: string,
  settings: PathSettings,
): Promise<VhostLocation | undefined> {
  if (isIPv6Literal(hostname) || hostname === RESERVED) return undefined
  const readAt = performance.now()
  const { basePath, getVhostPath } = settings
  const found = getVhostPath
    ? { relativePath: await getVhostPath(hostname), skipped: 0 }
    : await searchPatterns(hostname, settings)
  if (found?.relativePath === undefined) return undefined

  const vhostPath = resolve(basePath, found.relativePath)
  const realPath = await realPathOf(vhostPath)
  if (realPath === undefined) return undefined
  const stats = await unlessGone(stat(realPath, { bigint: true }))
  if (!stats?.isDirectory() || (await containsBasePath(realPath, basePath))) return undefined
  return { vhostPath, realPath, identity: `${stats.dev}:${stats.ino}`, skipped: found.skipped, readAt }
}

// A folder of packages beside the vhosts is common; its parts must not be had by asking for them.
const RESERVED = 'node_modules'
// Apache splits a name at its first 18 dots; the rest is one last label.
const MAX_DOTS = 18
const CLOSED = ['ENOTDIR', 'ELOOP', 'ENAMETOOLONG']
const isWindows = process.platform === 'win32'

type Part = string | ((labels: readonly string[], port: number) => string)

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
    else if (sign === 'p') parts.push((_labels, port) => String(port))
    else if (n === undefined) parts.push(text)
    else {
      const whole = selection(nDash, n, nPlus)
      const inner = selection(mDash, m, mPlus)
      parts.push(labels => select(select(labels, whole, '.').split(''), inner, ''))
    }
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

function select(items: readonly string[], { n, isFromEnd, isOpen }: Selection, joint: string): string {
  if (n === 0) return items.join(joint)
  if (n > items.length) return '_'
  const index = isFromEnd ? items.length - n : n - 1
  const start = isOpen && isFromEnd ? 0 : index
  const end = isOpen && !isFromEnd ? items.length : index + 1
  return items.slice(start, end).join(joint)
}

function labelsOf(hostname: string): string[] {
  const name = isIPv6Literal(hostname) ? hostname.slice(1, -1) : hostname
  // ASCII alone, as Apache does it.
  const labels = name.replace(/[A-Z]/g, letter => letter.toLowerCase()).split('.')
  const rest = labels.splice(MAX_DOTS)
  return rest.length === 0 ? labels : [...labels, rest.join('.')]
}

function isIPv6Literal(hostname: string): boolean {
  return hostname.startsWith('[')
}

function compilePattern(pattern: string): (hostname: string) => string | undefined {
  const toPath = vhostAlias(pattern)
  checkPattern(pattern)
  // No specifier holds or gives a slash, so the segments of pattern and path are the same in number.
  const isHidden = pattern.split('/').map(segment => segment.startsWith('.'))
  return function vhostPathOf(hostname: string): string | undefined {
    if (isIPv6Literal(hostname) || hostname.includes('/')) return undefined
    const path = toPath(hostname)
    return path.split('/').every((segment, index) => isSafe(segment, isHidden[index] === true))
      ? path
      : undefined
  }
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

// A deploy that is broken, or that we may not see, must not be answered by the catch-all that comes after it.
async function searchPatterns(
  hostname: string,
  { basePath, vhostPaths }: PathSettings,
): Promise<{ relativePath: string; skipped: number } | undefined> {
  for (const [skipped, vhostPath] of vhostPaths.entries()) {
    const relativePath = vhostPath(hostname)
    if (relativePath === undefined) continue
    if (vhostPaths.length === 1) return { relativePath, skipped }
    try {
      await lstat(resolve(basePath, relativePath))
      return { relativePath, skipped }
    } catch (error) {
      if (hasCode(error, CLOSED)) return undefined
      if (!hasCode(error, ['ENOENT'])) throw error
    }
    if (await isBelowDanglingLink(basePath, relativePath)) return undefined
  }
  return undefined
}

async function isBelowDanglingLink(basePath: string, relativePath: string): Promise<boolean> {
  const above = posix.dirname(relativePath)
  if (above === '.') return false
  const stats = await unlessGone(lstat(resolve(basePath, above)))
  if (!stats) return await isBelowDanglingLink(basePath, above)
  return stats.isSymbolicLink() && (await unlessGone(stat(resolve(basePath, above)))) === undefined
}

// Everything in the base path would be part of such a vhost, the other vhosts too.
async function containsBasePath(realPath: string, basePath: string): Promise<boolean> {
  if (realPath.startsWith(basePath + sep)) return false
  // With `getVhostPath` the base path may well not exist.
  const realBasePath = (await realPathOf(basePath)) ?? basePath
  return (
    realBasePath === realPath || realBasePath.startsWith(realPath.endsWith(sep) ? realPath : realPath + sep)
  )
}

async function realPathOf(path: string): Promise<string | undefined> {
  try {
    return await realpath(path)
  } catch (error) {
    // What is no longer than a host may be can still be too long for a file name.
    if (isGone(error) || hasCode(error, ['ENAMETOOLONG'])) return undefined
    throw error
  }
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes(String((error as NodeJS.ErrnoException).code))
}
