/** What an async handler rejected with, for `next`: with nothing is an error too, as in Express 5. */
export function rejection(reason: unknown): unknown {
  return reason || new Error('Rejected promise')
}
