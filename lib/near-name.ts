/** Whether a name is another by a slip of the keys: two letters exchanged, or two at most that are other, more or fewer; or by `www`. */
export function isNearName(one: string, other: string): boolean {
  const [short, long] = one.length < other.length ? [one, other] : [other, one]
  if (long === `www.${short}`) return true
  let start = 0
  while (start < short.length && short[start] === long[start]) start++
  let end = 0
  while (end < short.length - start && short.at(-1 - end) === long.at(-1 - end)) end++
  return long.length - start - end <= 2
}
