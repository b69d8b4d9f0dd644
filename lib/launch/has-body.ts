import type { IncomingMessage } from 'node:http'
import type { Http2Stream } from 'node:http2'

/** Whether a request has a body, even one that is still to come. */
export function hasBody(req: IncomingMessage & { stream?: Http2Stream }): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = req.headers
  if (coding !== undefined) return true
  if (length !== undefined) return length !== '0'
  return req.stream?.endAfterHeaders === false
}
