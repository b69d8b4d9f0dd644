import { createServer, type Server } from 'node:http'

/** In bytes. What the router's server has let pass, with what the router adds, must not meet another limit here. */
const MAX_HEADERS = 16 * 2 ** 20
/**
 * In milliseconds; in effect for ever. It is set explicitly so that Node undoes, after each answer, timeouts that an
 * app has set.
 */
const KEEP_ALIVE = 2 ** 30

/** The private server of an isolated app. It has no limits; the router's server has them. */
export function createFront(): Server {
  const front = createServer({ maxHeaderSize: MAX_HEADERS, keepAliveTimeout: KEEP_ALIVE })
  front.timeout = front.requestTimeout = front.headersTimeout = 0
  front.maxHeadersCount = 0
  return front
}
