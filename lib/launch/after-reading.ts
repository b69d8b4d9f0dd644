/** Where the router itself was held up its timers come first, and an answer that has long been there only then. */
export function afterReading(then: () => void): void {
  setImmediate(() => setImmediate(then))
}
