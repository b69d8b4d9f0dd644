/**
 * Whether two names differ only by a slip of the keys, in a stretch of two letters at most (exchanged, wrong, missing
 * or too many), or by `www`.
 */
export function isNearName(one: string, other: string): boolean {
  const [short, long] = one.length < other.length ? [one, other] : [other, one]
  if (long === `www.${short}`) return true
  let start = 0
  while (start < short.length && short[start] === long[start]) start++
  let end = 0
  while (end < short.length - start && short.at(-1 - end) === long.at(-1 - end)) end++
  return long.length - start - end <= 2
}
