/** Something that is kept for as long as it is used. */
export interface Used {
  /** When it was last used, by a counter of all uses: so a request need not move it within an ordered list. */
  usedAt: number
}

/** The `usedAt` up to which the `count` least recently used of these were used; no two share one. */
export function leastRecent(all: Iterable<Used>, count: number): number {
  const times = Float64Array.from(all, ({ usedAt }) => usedAt).sort()
  return times[count - 1] ?? Number.NEGATIVE_INFINITY
}
