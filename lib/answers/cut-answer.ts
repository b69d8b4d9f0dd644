import type { ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'

/** RFC 9113 §7. */
const INTERNAL_ERROR = 0x02

/** Breaks an answer off so that its client notices: an HTTP/2 stream that is merely destroyed claims to be complete. */
export function cutAnswer(res: ServerResponse & { stream?: ServerHttp2Stream }): void {
  if (res.stream) res.stream.close(INTERNAL_ERROR)
  else res.destroy()
}
