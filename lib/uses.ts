/** What is kept as long as it is asked for. */
export interface Used {
  /** When it was asked for last, on a counter of all that were asked for: a request need not move it in any order. */
  usedAt: number
}

/** Up to when the least recently used of these, so many of them, were used; every one has a time of its own. */
export function leastRecent(all: Iterable<Used>, count: number): number {
  const times = Float64Array.from(all, ({ usedAt }) => usedAt).sort()
  return times[count - 1] ?? Number.NEGATIVE_INFINITY
}
