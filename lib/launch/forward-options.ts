import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { VhostError } from '../errors.ts'
import type { Trusts } from '../trust-proxy.ts'

/** What all requests and upgrades that are forwarded to one app have in common. */
export interface ForwardOptions {
  readonly socketPath: string
  /** If unset, the setting of the surrounding app counts. */
  readonly trusts: Trusts | undefined
  /** Milliseconds within which the app must begin its answer; 0 means no limit. */
  readonly requestTimeout: number
  /**
   * Called when a request without a body got no connection, or an idempotent one met a broken connection before a byte
   * of its answer. Returns whether it takes the request over. For an upgrade, `answer` is its socket.
   */
  readonly retry: (
    req: IncomingMessage,
    answer: ServerResponse | Duplex,
    next: (error: VhostError) => void,
    cause: Error,
  ) => boolean
  /** Called with the error of each broken connection, before `retry`. */
  readonly broken: (error: NodeJS.ErrnoException) => void
  /** Called when the app begins an answer, or agrees to an upgrade or refuses it. */
  readonly answered: () => void
}
