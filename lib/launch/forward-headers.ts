import type { IncomingMessage, ServerResponse } from 'node:http'
import { addPrivateHeaders, type Client, PRIVATE_HEADER } from '../entry/private-headers.ts'
import { trustOf } from '../express-app.ts'
import { forwardedClient, type Trusts } from '../trust-proxy.ts'
import type { VhostInfo } from '../vhost-info.ts'

/** Of one connection, not of the message (RFC 9110 §7.6.1). */
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
/** The router's server has answered it. */
const EXPECT = 'expect'
/** Never one connection's, whatever the client says of them. */
const NEVER_NAMED = new Set(['content-length', 'host'])
/** What apps take for the client's address where they are told to; a stranger could say anything. */
const CLAIM =
  /^(?:forwarded|x-forwarded-.*|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cf-connecting-ip|fastly-client-ip)$/i
/** These three are said by the router, which knows. */
const REPLACED = /^x-forwarded-(?:for|proto|host)$/i

/** The headers with which a request goes on to its app, as a flat list, in the client's order and spelling. */
export function requestHeaders(
  req: IncomingMessage & { vhost?: VhostInfo },
  routerTrusts: Trusts | undefined,
): string[] {
  const trusts = routerTrusts ?? trustOf(req)
  const isTrusted = trusts?.(req.socket?.remoteAddress ?? '', 0) ?? false
  const dropped = namedByConnection(req.headers.connection)
  // Which HTTP/2 has in another place.
  const host = req.vhost?.host ?? (req.headers[':authority'] as string | undefined)
  const headers: string[] = host === undefined ? [] : ['Host', host]
  const { rawHeaders } = req
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || lower === EXPECT || dropped?.has(lower) || name.startsWith(':')) continue
    if (lower === 'host' && host !== undefined) continue
    if (PRIVATE_HEADER.test(lower) || REPLACED.test(lower) || (!isTrusted && CLAIM.test(lower))) continue
    headers.push(name, rawHeaders[at + 1] as string)
  }
  const client = clientOf(req, isTrusted ? trusts : undefined)
  if (client.address !== undefined) headers.push('X-Forwarded-For', client.address)
  headers.push('X-Forwarded-Proto', client.isEncrypted ? 'https' : 'http')
  if (host !== undefined) headers.push('X-Forwarded-Host', host)
  addPrivateHeaders(headers, req, client)
  return headers
}

/** Puts the headers of an app's answer on the response: all of a name at once, or Node 20 would keep the last. */
export function copyHeaders(from: IncomingMessage, res: ServerResponse, mayHaveTrailers: boolean): void {
  const dropped = namedByConnection(from.headers.connection)
  const { rawHeaders } = from
  const groups = new Map<string, { name: string; values: string[] }>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || dropped?.has(lower) || PRIVATE_HEADER.test(lower)) continue
    // Node throws where it stands on an answer that is not sent in chunks.
    if (lower === 'trailer' && !mayHaveTrailers) continue
    const group = groups.get(lower)
    if (group) group.values.push(rawHeaders[at + 1] as string)
    else groups.set(lower, { name, values: [rawHeaders[at + 1] as string] })
  }
  for (const { name, values } of groups.values()) {
    res.setHeader(name, values.length === 1 ? (values[0] as string) : values)
  }
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
