/**
 * When the router itself has been held up, Node runs its timers before it reads an answer that arrived long ago. Two
 * rounds of `setImmediate()` let it read that answer first.
 */
export function afterReading(then: () => void): void {
  setImmediate(() => setImmediate(then))
}
