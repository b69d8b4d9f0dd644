import type { IncomingMessage, ServerResponse } from 'node:http'
import { addPrivateHeaders, type Client, LEFT, NEXT, PRIVATE_PREFIX } from '../entry/private-headers.ts'
import { trustOf } from '../handler/express-app.ts'
import { forwardedClient, type Trusts } from '../trust-proxy.ts'
import type { RoutedRequest } from '../vhost-info.ts'

/** Headers of one connection, not of the message (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])
/** With this status, `Upgrade` tells the client which protocols would do (RFC 9110 §15.5.22). */
const UPGRADE_REQUIRED = 426
/** The router's server has answered `Expect`. `Trailer` is added again if trailers can follow. */
const NOT_ON = new Set(['expect', 'trailer'])
/** Never headers of one connection, even if the client's `Connection` names them. */
const NEVER_NAMED = new Set(['content-length', 'host'])
/** Headers from which apps take the client's address if they are told to; a stranger could send anything. */
const CLAIM =
  /^(?:forwarded|x-forwarded-.*|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cf-connecting-ip|fastly-client-ip)$/
/** The router sets these three itself, from what it knows. */
const REPLACED = new Set(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'])

/** The app's values are added to those that were set before it, as its own framework would have done in process. */
const ADDED = new Set(['set-cookie', 'vary'])

/** The headers with which a request goes on to its app, as a flat list, in the client's order and spelling. */
export function requestHeaders(req: RoutedRequest, routerTrusts: Trusts | undefined): string[] {
  const trusts = routerTrusts ?? trustOf(req)
  const isTrusted = trusts?.(req.socket?.remoteAddress ?? '', 0) ?? false
  const dropped = namedByConnection(req.headers.connection)
  // Next to chunks, a length has no meaning (RFC 9112 §6.3). Node's lenient parser lets both pass and reads the chunks.
  const isChunked = req.headers['transfer-encoding'] !== undefined
  // HTTP/2 has the host in `:authority`.
  const host = req.vhost?.host ?? (req.headers[':authority'] as string | undefined)
  const client = clientOf(req, isTrusted ? trusts : undefined)
  const headers: string[] = []
  addPrivateHeaders(headers, req, client)
  if (host !== undefined) headers.push('Host', host)
  const { rawHeaders } = req
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || NOT_ON.has(lower) || dropped?.has(lower) || name.startsWith(':')) continue
    if (lower === 'host' && host !== undefined) continue
    if (lower === 'content-length' && isChunked) continue
    if (lower.startsWith(PRIVATE_PREFIX) || REPLACED.has(lower) || (!isTrusted && CLAIM.test(lower))) continue
    headers.push(name, rawHeaders[at + 1] as string)
  }
  if (client.address !== undefined) headers.push('X-Forwarded-For', client.address)
  headers.push('X-Forwarded-Proto', client.isEncrypted ? 'https' : 'http')
  if (host !== undefined) headers.push('X-Forwarded-Host', host)
  return headers
}

/** Whether a field may be a trailer: none that says how to read the message, and none that is private to the router. */
export function mayTrail(name: string): boolean {
  const lower = name.toLowerCase()
  return !HOP_BY_HOP.has(lower) && !NEVER_NAMED.has(lower) && !lower.startsWith(PRIVATE_PREFIX)
}

/** The head of an app's answer, as it is passed on. */
export interface AnswerHead {
  /** All values of a name together, as Node 20 would otherwise keep only the last; in the app's order and spelling. */
  readonly fields: readonly Field[]
  /** What `Content-Length` says. */
  readonly length: number | undefined
  readonly isChunked: boolean
  /** What the app tells the router alone: that it has called `next()`, and how. */
  readonly next: string | undefined
  /** Whether the app tells the router that part of the request's body was still to come. */
  readonly isBodyLeft: boolean
}

interface Field {
  readonly name: string
  readonly lower: string
  value: string | string[]
}

/** Reads in one pass: `headers` would make an object of all of them, which nobody needs. */
export function readHead({ rawHeaders, statusCode }: IncomingMessage): AnswerHead {
  const known = new Map<string, Field>()
  let connection: string | undefined
  let next: string | undefined
  let length: number | undefined
  let isChunked = false
  let isBodyLeft = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const value = rawHeaders[at + 1] as string
    const lower = name.toLowerCase()
    if (lower === 'content-length') length = Number(value)
    isChunked ||= lower === 'transfer-encoding'
    isBodyLeft ||= lower === LEFT
    if (lower === 'connection') connection = connection === undefined ? value : `${connection}, ${value}`
    else if (lower === NEXT) next = value
    else if (mayGoOn(lower, statusCode)) addField(known, name, lower, value)
  }
  const fields = [...known.values()]
  const dropped = namedByConnection(connection)
  const left = dropped ? fields.filter(({ lower }) => lower === 'upgrade' || !dropped.has(lower)) : fields
  return { fields: left, length, isChunked, next, isBodyLeft }
}

/** In bytes. In process there would be no limit, and the app's error comes in a header, too. */
export const MAX_ANSWER_HEADERS: number = 2 ** 20
/**
 * How many fields an answer may have: as many as Node's own client keeps. With more, its parser alone could block for a
 * minute.
 */
export const MOST_FIELDS = 2000

/** Throws if an answer cannot be passed on: Node's server would say so only once the answer is under way. */
export function checkHead(
  { statusCode = 0, statusMessage = '', rawHeaders }: IncomingMessage,
  { length, isChunked }: AnswerHead,
): void {
  if (statusCode < 200 || statusCode > 999) throw new Error(`an answer with the status ${statusCode}`)
  if (/[^\t\x20-\x7e\x80-\xff]/.test(statusMessage)) throw new Error('an answer with a bad status message')
  if (length !== undefined && isChunked) throw new Error('an answer with both a length and chunks')
  if (rawHeaders.length > 2 * MOST_FIELDS) throw new Error(`an answer with more than ${MOST_FIELDS} headers`)
}

/**
 * What Node takes for a link. Node's own pattern may take for ever on text that does not match: it tries each parameter
 * that has a `=` in two ways, in combination with all others.
 */
const LINK = /^<[^>]*>(?:\s*;\s*[^;"\s]+(?:(?<=[^;"\s]=)"[^;"\s]*")?)*$/

/** The links of early hints. Node takes one per string and sends all of them in one header. */
export function linksOf(rawHeaders: readonly string[]): string[] {
  const lines = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'link')
  return lines.flatMap(line => line.split(/,\s*(?=<)/)).filter(link => LINK.test(link))
}

export function setHeaders(res: ServerResponse, status: number, { fields, length, next }: AnswerHead): void {
  const isChunked = length === undefined && res.req.httpVersion === '1.1' && mayHaveBody(res.req, status)
  for (const { name, lower, value } of fields) {
    // The next handler has a body of its own.
    if (next !== undefined && (lower === 'content-length' || lower === 'trailer')) continue
    // HTTP/2 has no such header.
    if (lower === 'upgrade' && res.req.httpVersionMajor >= 2) continue
    // Node throws if an answer that is not sent in chunks has this header.
    if (lower === 'trailer' && !isChunked) continue
    res.setHeader(name, ADDED.has(lower) ? added(lower, res.getHeader(lower), value) : value)
  }
}

/** Whether an answer with this status can have a body (RFC 9110 §6.4.1). */
export function mayHaveBody({ method }: IncomingMessage, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304
}

function mayGoOn(lower: string, status: number | undefined): boolean {
  if (lower === 'upgrade') return status === UPGRADE_REQUIRED
  return !HOP_BY_HOP.has(lower) && !lower.startsWith(PRIVATE_PREFIX)
}

function addField(fields: Map<string, Field>, name: string, lower: string, value: string): void {
  const known = fields.get(lower)
  if (!known) fields.set(lower, { name, lower, value })
  else if (typeof known.value === 'string') known.value = [known.value, value]
  else known.value.push(value)
}

function added(
  name: string,
  before: ReturnType<ServerResponse['getHeader']>,
  value: string | string[],
): string | string[] {
  const all = [...new Set([before ?? [], value].flat().map(String))]
  return name === 'vary' ? all.join(', ') : all
}

function clientOf(req: IncomingMessage, trusts: Trusts | undefined): Client {
  const { remoteAddress: address, remotePort: port, remoteFamily: family } = req.socket
  const isEncrypted = 'encrypted' in req.socket && Boolean(req.socket.encrypted)
  if (!trusts) return { address, port, family, isEncrypted }
  const { ip, protocol } = forwardedClient(req, trusts)
  const isSame = ip === address
  return {
    address: ip,
    port: isSame ? port : undefined,
    family: isSame ? family : ip?.includes(':') ? 'IPv6' : 'IPv4',
    isEncrypted: protocol === 'https',
  }
}

function namedByConnection(connection: string | undefined): Set<string> | undefined {
  if (connection === undefined || /^(?:keep-alive|close)$/i.test(connection)) return undefined
  const names = connection.split(',').map(name => name.trim().toLowerCase())
  return new Set(names.filter(name => !NEVER_NAMED.has(name)))
}
