/**
 * Passes on to `next` what an async handler rejects with; as in Express 5, to reject with nothing is an error too.
 * `returned` is whatever a handler returned.
 */
export function passRejection(returned: unknown, next: (error: unknown) => void): void {
  if (isPromise(returned)) returned.then(undefined, reason => next(reason || new Error('Rejected promise')))
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined | null)?.then === 'function'
}
