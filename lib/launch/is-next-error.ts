/** Whether `next` was called with an error: at these two words Express only leaves a route or a router, and goes on. */
export function isNextError(error: unknown): boolean {
  return Boolean(error) && error !== 'route' && error !== 'router'
}
