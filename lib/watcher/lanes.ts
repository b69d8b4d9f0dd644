/** How many at a time: with more than the four file-system threads, those are woken less often. */
const LANES = 16
/** Milliseconds: a folder that hangs must not keep the others from being read. */
const PATIENCE = 1000

/**
 * Calls `act` on each item, on `lanes` at a time; resolves when all have had their turn. One that takes longer than
 * `patience` milliseconds, or a quarter more, is not waited for. `act` must not reject, and returns nothing if there is
 * nothing to wait for.
 */
export function inLanes<T>(
  items: readonly T[],
  act: (item: T) => Promise<void> | undefined,
  lanes: number = LANES,
  patience: number = PATIENCE,
): Promise<void> {
  return new Promise(resolve => {
    const under = new Set<{ readonly since: number }>()
    let next = 0
    // One timer for all, because the acts are thousands of quick looks at the disk.
    const timer = setInterval(() => {
      const now = performance.now()
      for (const turn of under) if (now - turn.since > patience) under.delete(turn)
      fill()
    }, patience / 4).unref()
    fill()

    function fill(): void {
      while (under.size < lanes && next < items.length) begin(items[next++] as T)
      if (under.size > 0 || next < items.length) return
      clearInterval(timer)
      resolve()
    }

    function begin(item: T): void {
      const acting = act(item)
      if (!acting) return
      const turn = { since: performance.now() }
      under.add(turn)
      void acting.then(() => {
        if (under.delete(turn)) fill()
      })
    }
  })
}
