import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { VhostError } from '../errors.ts'
import type { Trusts } from '../trust-proxy.ts'

/** What requests and upgrades that are handed on to one app have in common. */
export interface ForwardOptions {
  readonly socketPath: string
  /** Unset: what the app around says. */
  readonly trusts: Trusts | undefined
  /** Milliseconds until the app has to begin its answer; 0 is for ever. */
  readonly requestTimeout: number
  /**
   * Is asked where a request without a body got no connection, or an idempotent one met a broken connection before a
   * byte of its answer; whether it takes the request over. Of an upgrade the answer is its socket.
   */
  readonly retry: (
    req: IncomingMessage,
    answer: ServerResponse | Duplex,
    next: (error: VhostError) => void,
  ) => boolean
  /** Is told of each broken connection, before `retry` is asked. */
  readonly broken: (error: NodeJS.ErrnoException) => void
}
