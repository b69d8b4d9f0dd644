import type { ClientRequest, IncomingMessage, OutgoingMessage } from 'node:http'
import type { Http2Stream } from 'node:http2'
import { debug } from '../events.ts'
import { mayTrail } from './forward-headers.ts'

/** Adds the headers that frame the body, if the client framed it in a way that held only for its own connection. */
export function framed(headers: string[], req: IncomingMessage, body: boolean): string[] {
  const { 'content-length': length, 'transfer-encoding': coding, trailer } = req.headers
  if (length !== undefined && coding === undefined) return headers
  if (body) headers.push('Transfer-Encoding', 'chunked')
  else if (req.method !== 'GET' && req.method !== 'HEAD' && req.method !== 'OPTIONS')
    headers.push('Content-Length', '0')
  // On a message without chunks Node throws at this header, as no trailer could follow.
  if (body && trailer !== undefined) headers.push('Trailer', trailer)
  return headers
}

/**
 * Ends a request whose body was read to its end, as the client ended it: a cancelled HTTP/2 stream emits `end`, too.
 */
export function endBody(up: ClientRequest, req: IncomingMessage & { stream?: Http2Stream }): void {
  if (req.stream?.aborted || req.stream?.rstCode) {
    up.destroy()
    return
  }
  addTrailers(up, req)
  up.end()
}

/** Passes on those trailers that are allowed, if trailers can follow at all (RFC 9110 §6.5.1). */
export function addTrailers(to: OutgoingMessage, { rawTrailers }: IncomingMessage): void {
  const isHttp2 = 'stream' in to
  if (rawTrailers.length === 0 || !(isHttp2 || to.chunkedEncoding)) return
  const pairs = rawTrailers
    .flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, rawTrailers[at + 1] as string]] : []))
    .filter(([name]) => mayTrail(name))
  try {
    if (pairs.length > 0) to.addTrailers(isHttp2 ? Object.fromEntries(pairs) : pairs)
  } catch (error) {
    debug('forward: %s', (error as Error).message)
  }
}
