import { inspect } from 'node:util'

/** What a wrong option throws: a `TypeError` with `code: 'ERR_VHOST_OPTION'`. */
export function optionError(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_VHOST_OPTION' })
}

/** The error for an option that `owner` does not have; it names the nearest one that it has. */
export function unknownOption(owner: string, name: string, known: readonly string[]): TypeError {
  return optionError(`${owner} has no option ${shown(name)}${didYouMean(name, known, word => `'${word}'`)}`)
}

/**
 * The end of a message about an unknown name: suggests the known one that is written most like it, if one is alike
 * enough.
 */
export function didYouMean(name: string, known: readonly string[], quote: (word: string) => string): string {
  const distances = known.map(word => [unlikeness(name.toLowerCase(), word.toLowerCase()), word] as const)
  const [[distance, word] = [1, '']] = distances.sort(([one], [other]) => one - other)
  return distance > 0.5 ? '' : `; did you mean ${quote(word)}?`
}

/** A bad value, for a message. */
export function shown(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  return typeof value === 'string'
    ? JSON.stringify(value)
    : inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 1 })
}

/** As `shown`, for the option `name`: values in `env` may be secret, and messages reach logs and status pages. */
export function shownOption(name: string, value: unknown): string {
  if (name !== 'env') return shown(value)
  const kind = kindOf(value)
  if (kind !== 'Object') return kind
  const kinds = Object.entries(value as object).map(([variable, text]) => [variable, kindOf(text)])
  return shown(Object.fromEntries(kinds))
}

function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

/** From 0, the same, to 1, nothing in common. */
function unlikeness(one: string, other: string): number {
  return editDistance(one, other) / Math.max(one.length, other.length)
}

/** The Levenshtein distance. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1)
      next[j] = Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1)
    }
    row = next
  }
  return row[to.length] ?? 0
}
