import { ServerResponse } from 'node:http'

const WRITTEN = Symbol('written')
type Limited = ServerResponse & { [WRITTEN]?: number; _contentLength?: number | null }
type Callback = () => void

/**
 * Keeps an answer within the length that it states. What came beyond would be taken, a moment later, for the answer to
 * the next request on the router's connection, which is somebody else's. Set on each answer, as Express replaces its
 * prototype.
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
  return this
}

function within(res: Limited, chunk: unknown, encoding: unknown): unknown {
  const length = statedLength(res)
  // Node has an error for any other kind of chunk.
  if (length === undefined || !(typeof chunk === 'string' || chunk instanceof Uint8Array)) return chunk
  const before = res[WRITTEN] ?? 0
  const coding = typeof encoding === 'string' ? (encoding as BufferEncoding) : undefined
  const size = typeof chunk === 'string' ? Buffer.byteLength(chunk, coding) : chunk.byteLength
  res[WRITTEN] = before + size
  if (before + size <= length) return chunk
  const bytes = typeof chunk === 'string' ? Buffer.from(chunk, coding) : chunk
  return bytes.subarray(0, Math.max(0, length - before))
}

function statedLength(res: Limited): number | undefined {
  // A length set by writeHead() is found only where Node keeps it for itself.
  const stated = res.headersSent ? res._contentLength : res.getHeader('content-length')
  const length = stated === undefined || stated === null ? Number.NaN : Number(stated)
  return Number.isNaN(length) ? undefined : length
}
