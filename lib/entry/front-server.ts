import { createServer, type Server } from 'node:http'

/** Bytes: what the router's server has let pass, and what the router adds, is to meet no limit of this one's own. */
const MAX_HEADERS = 16 * 2 ** 20
/** Milliseconds: for ever, said so that Node takes back after each answer the time limits that an app has set. */
const KEEP_ALIVE = 2 ** 30

/** The private server of an isolated app; the router's server has the limits. */
export function createFront(): Server {
  const front = createServer({ maxHeaderSize: MAX_HEADERS, keepAliveTimeout: KEEP_ALIVE })
  front.timeout = front.requestTimeout = front.headersTimeout = 0
  front.maxHeadersCount = 0
  return front
}
