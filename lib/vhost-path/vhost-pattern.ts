import { parse } from 'node:path'
import { isDosDevice } from '../hostname.ts'
import { optionError } from '../options/option-error.ts'
import {
  captureOf,
  isIPv6Literal,
  labelsOf,
  type Part,
  parsePattern,
  rangeOf,
  vhostAlias,
} from '../vhost-alias.ts'

/** A pattern of `vhostDir`, compiled. */
export interface VhostPattern {
  /** As it was written. */
  readonly text: string
  /** A path relative to the base path; undefined if the hostname leads nowhere safe. */
  readonly pathOf: (hostname: string) => string | undefined
  readonly capturesOf: (hostname: string) => readonly string[]
  /** Whether every label of the hostname stands in the path in full, so that no other hostname has the same path. */
  readonly isExact: (hostname: string) => boolean
}

/**
 * Compiles `vhostDir`.
 *
 * @throws TypeError `ERR_VHOST_OPTION` if a pattern is malformed or could lead out of the base path.
 */
export function compileVhostDir(vhostDir: string | readonly string[]): readonly VhostPattern[] {
  const patterns = typeof vhostDir === 'string' ? [vhostDir] : vhostDir
  if (patterns.length === 0) throw optionError('vhostDir: the array is empty')
  // `map()` alone would pass over a hole in the array, which would end every search.
  return Array.from(patterns, compilePattern)
}

/** A folder of packages beside the vhosts is common; clients must not get at it by asking for its name. */
export const RESERVED = 'node_modules'
const isWindows = process.platform === 'win32'

function compilePattern(pattern: string): VhostPattern {
  const toPath = vhostAlias(pattern)
  checkPattern(pattern)
  const parts = parsePattern(pattern)
  const specifiers = parts.filter(part => typeof part === 'object')
  const isUnambiguous = areApart(parts)
  // No specifier holds or gives a slash, so pattern and path have the same number of segments.
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

// With `%1%2`, nobody can tell whether `abc` is `a.bc` or `ab.c`. A literal part is one character.
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

// `%0.3+` would turn the hostname `xx.git` into `.git`: only the pattern itself may begin a segment with a dot.
function isSafe(segment: string, isHidden: boolean): boolean {
  if (segment === '' || segment === '.' || segment === '..' || segment === RESERVED) return false
  if (segment.startsWith('.') && !isHidden) return false
  // Windows drops a trailing dot, so that `a.` would be a second name of `a`.
  return !isWindows || !(segment.endsWith('.') || isDosDevice(segment))
}
