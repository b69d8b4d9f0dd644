import type { IncomingMessage } from 'node:http'

/** Methods that are safe to repeat (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** Whether a request without a body that met a broken connection is safe to repeat. */
export function mayRetry(error: NodeJS.ErrnoException, { method = '' }: IncomingMessage): boolean {
  return isUnsent(error) || IDEMPOTENT.has(method)
}

/** Whether the app was never reached. */
function isUnsent({ syscall }: NodeJS.ErrnoException): boolean {
  return syscall === 'connect'
}
