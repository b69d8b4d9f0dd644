import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { isQueued } from '../answers/is-queued.ts'
import { isClientGone } from './client-gone.ts'
import { ConnectionPool } from './connection-pool.ts'
import { Exchange } from './exchange.ts'
import type { ForwardOptions } from './forward-options.ts'
import { FullQueue } from './full-queue.ts'
import type { Next } from './launch.ts'
import { UpgradeExchange, type UpgradeQueue } from './upgrade-exchange.ts'

/** Forwards requests to an app behind a private socket, and its answers back, as if the app were called here. */
export class Forward {
  readonly #options: ForwardOptions
  readonly #pool: ConnectionPool
  readonly #upgrades: UpgradeQueue = new FullQueue(
    upgrade => upgrade.ask(),
    ({ isOver }) => isOver,
  )

  constructor(options: ForwardOptions) {
    this.#options = options
    this.#pool = new ConnectionPool(options.socketPath)
  }

  readonly handle = (req: IncomingMessage, res: ServerResponse, next: Next): void => {
    // The client may have gone while the app was loaded, or loaded again: no event would ever tell.
    if (isClientGone(req, res)) return
    // One connection may bring thousands of requests at once, and each would take a file descriptor before its turn.
    if (isQueued(req, res)) {
      res.once(
        'socket',
        AsyncResource.bind(() => this.handle(req, res, next)),
      )
      return
    }
    new Exchange(this.#options, this.#pool, req, res, next).begin()
  }

  /** For `failed`, see `UpgradeExchange`. */
  readonly upgrade = (
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    failed: (error: unknown) => void,
  ): void => {
    new UpgradeExchange(this.#options, this.#upgrades, req, socket, head, failed).begin()
  }

  /** Closes its connections. */
  close(): void {
    this.#pool.destroy()
  }
}
