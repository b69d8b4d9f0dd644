import { optionError, shown } from './options/option-error.ts'

/**
 * Compiles a pattern in the notation of Apache's mod_vhost_alias (`%0`, `%-2+`, `%2.1`, `%p`, `%%`) to a function that
 * returns the path of a hostname. What the hostname lacks becomes `_`.
 *
 * @throws TypeError `ERR_VHOST_OPTION` if the pattern is empty or a specifier in it is malformed.
 */
export function vhostAlias(pattern: string): (hostname: string, port?: number) => string {
  const parts = parsePattern(pattern)
  const [first] = parts
  // Most patterns are the whole name, which need not be taken apart and put together again.
  if (parts.length === 1 && isWholeName(first)) return hostname => nameIn(hostname)
  return function vhostAliasPath(hostname: string, port = 80): string {
    const labels = labelsOf(hostname)
    const path = parts.map(part => textOf(part, labels, port)).join('')
    return path.endsWith('/') ? path.slice(0, -1) : path
  }
}

// Apache splits a name at its first 18 dots; the rest is one last label.
const MAX_DOTS = 18

const PORT: unique symbol = Symbol('%p')

/** `%N.M`: which labels of a hostname, and which of their characters. */
export interface Specifier {
  readonly labels: Selection
  readonly characters: Selection
}

export type Part = string | Specifier | typeof PORT

export function parsePattern(pattern: string): Part[] {
  if (typeof pattern !== 'string' || pattern === '') {
    throw optionError(`A pattern is a string that is not empty, not ${shown(pattern)}`)
  }
  // A dot after %N always begins .M, so an M must follow: it is `%0.0.static`, not `%0.static`.
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
    `${JSON.stringify(specifier)} in the pattern ${JSON.stringify(pattern)} is not one of %%, %p, %N, %-N, %N+, %N.M; ` +
      'a dot after %N begins .M, so write %N.0 before a literal dot',
  )
}

/** Which items of a row are meant: the nth, from the start or the end, alone or with all beyond it; 0 means all. */
export interface Selection {
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

export function captureOf(specifier: Specifier, labels: readonly string[]): string {
  const whole = select(labels, specifier.labels, '.')
  return specifier.characters.n === 0 ? whole : select(whole.split(''), specifier.characters, '')
}

function select(items: readonly string[], selection: Selection, joint: string): string {
  if (selection.n === 0) return items.join(joint)
  const range = rangeOf(items.length, selection)
  return range ? items.slice(...range).join(joint) : '_'
}

/** Where the items that are meant begin and end; undefined if there are too few. */
export function rangeOf(
  length: number,
  { n, isFromEnd, isOpen }: Selection,
): [start: number, end: number] | undefined {
  if (n === 0) return [0, length]
  if (n > length) return undefined
  const index = isFromEnd ? length - n : n - 1
  return [isOpen && isFromEnd ? 0 : index, isOpen && !isFromEnd ? length : index + 1]
}

function isWholeName(part: Part | undefined): boolean {
  return typeof part === 'object' && part.labels.n === 0 && part.characters.n === 0
}

export function labelsOf(hostname: string): string[] {
  const labels = nameIn(hostname).split('.')
  return labels.length <= MAX_DOTS ? labels : [...labels.slice(0, MAX_DOTS), labels.slice(MAX_DOTS).join('.')]
}

function nameIn(hostname: string): string {
  return lowered(isIPv6Literal(hostname) ? hostname.slice(1, -1) : hostname)
}

// ASCII only, as in Apache. Nearly every name is in lower case already.
function lowered(name: string): string {
  return /[A-Z]/.test(name) ? name.replace(/[A-Z]/g, letter => letter.toLowerCase()) : name
}

export function isIPv6Literal(hostname: string): boolean {
  return hostname.startsWith('[')
}
