/** What a {@link VhostError} is about. Match on this, not on the message. */
export type VhostErrorCode =
  | 'ERR_VHOST_HOST'
  | 'ERR_VHOST_PATH'
  | 'ERR_VHOST_MISDIRECTED'
  | 'ERR_VHOST_LOAD'
  | 'ERR_VHOST_NO_HANDLER'
  | 'ERR_VHOST_LOAD_TIMEOUT'
  | 'ERR_VHOST_OVERLOADED'
  | 'ERR_VHOST_CRASHED'
  | 'ERR_VHOST_REQUEST_TIMEOUT'
  | 'ERR_VHOST_CLOSED'

const CODES: Record<VhostErrorCode, readonly [status: number, message: string]> = {
  ERR_VHOST_HOST: [400, 'The request names no valid host'],
  ERR_VHOST_PATH: [400, 'The path of the request cannot be decoded'],
  ERR_VHOST_MISDIRECTED: [421, 'The connection was made for a name with another certificate'],
  ERR_VHOST_LOAD: [500, 'The app cannot be loaded'],
  ERR_VHOST_NO_HANDLER: [500, 'The app exports no handler'],
  ERR_VHOST_LOAD_TIMEOUT: [503, 'The app took too long to load'],
  ERR_VHOST_OVERLOADED: [503, 'There is no room to load the app now'],
  ERR_VHOST_CRASHED: [502, 'The app crashed'],
  ERR_VHOST_REQUEST_TIMEOUT: [504, 'The app took too long to answer'],
  ERR_VHOST_CLOSED: [503, 'The router is closed'],
}

export interface VhostErrorOptions {
  /** The hostname concerned, if one is known. */
  hostname?: string | undefined
  /** What follows the message, after a colon. Clients may see it: never a path of the machine. */
  detail?: string | undefined
  /** The error behind this one; it may hold paths and is for logs alone. */
  cause?: unknown
  /**
   * Seconds until another try makes sense; becomes the `Retry-After` header, and makes the status 503.
   * @default 1 if the status is 503
   */
  retryAfter?: number | undefined
}

/**
 * The one error class of express-van. It carries what Express's error handler looks for: `status`, `statusCode`,
 * `expose` and `headers`.
 */
export class VhostError extends Error {
  override readonly name = 'VhostError'
  readonly code: VhostErrorCode
  readonly status: number
  readonly statusCode: number
  /** Whether the message may be shown to the client: true for 4xx. */
  readonly expose: boolean
  readonly hostname: string | undefined
  readonly headers: Readonly<Record<string, string>>

  readonly #options: VhostErrorOptions

  constructor(code: VhostErrorCode, options: VhostErrorOptions = {}) {
    const { hostname, detail, cause, retryAfter } = options
    const [usual, message] = CODES[code]
    const status = retryAfter === undefined ? usual : 503
    super(
      `${hostname === undefined ? '' : `${hostname}: `}${message}${detail ? `: ${detail}` : ''}`,
      // A log would print a `cause` that is undefined.
      cause === undefined ? {} : { cause },
    )
    this.#options = options
    this.code = code
    this.status = this.statusCode = status
    this.expose = status < 500
    this.hostname = hostname
    this.headers = status === 503 ? { 'Retry-After': String(retryAfter ?? 1) } : {}
    // Express shows `stack` to clients outside production. The frames here are all our own and name this
    // machine's folders; what matters to the operator is the cause.
    this.stack = `${this.name} [${code}]: ${this.message}`
  }

  /** The same error, for one hostname. */
  withHostname(hostname: string): VhostError {
    return hostname === this.hostname ? this : new VhostError(this.code, { ...this.#options, hostname })
  }
}

/** The error for a hostname whose folder the disk cannot read. */
export function unreadable(hostname: string, cause: unknown): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { hostname, detail: 'its folder cannot be read', cause })
}

/** Removes the stack frames, which name this machine's folders, from an error that Express may show to clients. */
export function withoutFrames(error: Error): Error {
  error.stack = String(error)
  return error
}
