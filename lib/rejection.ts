/**
 * Passes on to `next` what an async handler rejects with; with nothing is an error too, as in Express 5. `returned` is
 * whatever a handler gave.
 */
export function passRejection(returned: unknown, next: (error: unknown) => void): void {
  const promise = returned as PromiseLike<unknown> | undefined | null
  if (typeof promise?.then !== 'function') return
  promise.then(undefined, reason => next(reason || new Error('Rejected promise')))
}
