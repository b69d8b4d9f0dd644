import { ServerResponse } from 'node:http'

const WRITTEN = Symbol('written')
type Limited = ServerResponse & {
  [WRITTEN]?: number
  _contentLength?: number | null
  _hasBody?: boolean
  /** Whether Node closes the connection after it. */
  _last?: boolean
}
type Callback = () => void

/**
 * Keeps an answer within the length that it states. What came beyond would be taken, a moment later, for the answer to
 * the next request on the router's connection, which is somebody else's. An answer that ends before that length closes
 * the connection: the router would wait for the rest for ever. Set on each answer, as Express replaces its prototype.
 */
export function keepToLength(res: ServerResponse): void {
  Object.assign(res, { write, end })
}

function write(this: Limited, chunk: unknown, encoding?: unknown, callback?: Callback): boolean {
  return ServerResponse.prototype.write.call(
    this,
    within(this, chunk, encoding),
    encoding as BufferEncoding,
    callback,
  )
}

function end(this: Limited, chunk?: unknown, encoding?: unknown, callback?: Callback): Limited {
  ServerResponse.prototype.end.call(this, within(this, chunk, encoding), encoding as BufferEncoding, callback)
  // Node looks at this once everything has been written. With a status below 200 the answer proper would be to come.
  if (isShort(this) || this.statusCode < 200) this._last = true
  return this
}

function isShort(res: Limited): boolean {
  return res._hasBody === true && (res[WRITTEN] ?? 0) < (statedLength(res) ?? 0)
}

function within(res: Limited, chunk: unknown, encoding: unknown): unknown {
  // Node has an error for any other kind of chunk.
  if (!(typeof chunk === 'string' || chunk instanceof Uint8Array)) return chunk
  const length = statedLength(res)
  const before = res[WRITTEN] ?? 0
  const coding = typeof encoding === 'string' ? (encoding as BufferEncoding) : undefined
  const size = typeof chunk === 'string' ? Buffer.byteLength(chunk, coding) : chunk.byteLength
  res[WRITTEN] = before + size
  if (length === undefined || before + size <= length) return chunk
  const bytes = typeof chunk === 'string' ? Buffer.from(chunk, coding) : chunk
  return bytes.subarray(0, Math.max(0, length - before))
}

function statedLength(res: Limited): number | undefined {
  // A length set by writeHead() is found only where Node keeps it for itself.
  const stated = res.headersSent ? res._contentLength : res.getHeader('content-length')
  const length = stated === undefined || stated === null ? Number.NaN : Number(stated)
  return Number.isNaN(length) ? undefined : length
}
