import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import type { Trusts } from './trust-proxy.ts'

/** Why a host was refused, in words that name the rule. */
export interface Refusal {
  readonly refused: string
}

/** Which vhost a request asks for. */
export interface Name {
  /** As the client sent it. */
  readonly host: string
  readonly hostname: string
}

/** Whom to trust for a request; called only if the request says something that needs trust. */
export type TrustsOf = (req: IncomingMessage) => Trusts | undefined

/**
 * The hostname a request asks for: that of an absolute-form target, else of Host; or instead that of X-Forwarded-Host,
 * if `trustsOf` gives a function that trusts the peer. Undefined if the request names no host at all.
 */
export function hostnameOf(req: IncomingMessage, trustsOf?: TrustsOf): string | Refusal | undefined {
  const host = hostOf(req, trustsOf)
  return typeof host === 'string' ? parseHost(host) : host
}

/** The host that the hostname of a request comes from, as it was written, with its port. */
export function hostOf(req: IncomingMessage, trustsOf?: TrustsOf): string | Refusal | undefined {
  // Node keeps only the first of several Host lines in `headers`, so only `rawHeaders` can tell. And `headers` is built
  // when it is first read, a cost that a request to an app that does not read it is spared.
  const headers = req.rawHeaders?.length > 0 ? req.rawHeaders : rebuildRawHeaders(req)
  let host: string | undefined
  let authority: string | undefined
  let scheme: string | undefined
  let forwarded: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    switch (name.length) {
      case 4:
        if (!isHost(name)) break
        if (host !== undefined) return DUPLICATE
        host = headers[i + 1]
        break
      case 7:
        if (name === ':scheme') scheme = headers[i + 1]
        break
      case 10:
        if (name === ':authority') authority = headers[i + 1]
        break
      case 16:
        if (name.toLowerCase() === 'x-forwarded-host') forwarded ??= headers[i + 1]
    }
  }
  // Express and connect cut the mount path from `url`; `originalUrl` is what the client sent.
  const target = (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/'
  const asked = hostOfTarget(target, host, authority, scheme)
  if (forwarded === undefined || isRefusal(asked)) return asked
  const trusts = trustsOf?.(req)
  return trusts?.(req.socket?.remoteAddress ?? '', 0) ? firstOf(forwarded) : asked
}

/**
 * The hostname in a host: lower case, no port, no trailing dot. A well-formed IPv6 literal keeps its brackets;
 * it leads to no vhost.
 */
export function parseHost(host: string): string | Refusal {
  return checkName(host) === undefined ? host : normalise(host)
}

/** As `parseHost`, for a value that may not be a string: callers need not use TypeScript. */
export function parseGivenHost(host: unknown): string | Refusal {
  return typeof host === 'string' ? parseHost(host) : NO_STRING
}

/** Whether Windows would open a device by this name, with or without an extension. */
export function isDosDevice(name: string): boolean {
  return /^(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\.|$)/i.test(name)
}

const NO_STRING = refusal('the host is not a string')
const EMPTY = refusal('the host is empty')
const DUPLICATE = refusal('there is more than one Host')
const DIFFERENT = refusal('the request target and Host name different hosts')
const BAD_TARGET = refusal('the request target is neither a path nor an http or https URL')
const USERINFO = refusal('the request target holds a user name')
const BAD_PORT = refusal('the port is not a number from 0 to 65535')
const BAD_IPV6 = refusal('the IPv6 address is not well formed')
const BAD_IPV4 = refusal('the last label is a number, but the name is not an IPv4 address')
const BAD_CHARACTER = refusal('a character is not one of a-z, 0-9, hyphen, underscore and dot')
const EDGE_HYPHEN = refusal('a label begins or ends with a hyphen')
const EMPTY_LABEL = refusal('a label is empty')
const LONG_LABEL = refusal('a label is longer than 63 characters')
const LONG_NAME = refusal('the name is longer than 253 characters')
const DOS_DEVICE = refusal('the name is that of a device')

const MAX_NAME = 253
const MAX_LABEL = 63
const MAX_PORT = 65535
const isWindows = process.platform === 'win32'

const HYPHEN = 45
const DOT = 46
const SLASH = 47
const ASTERISK = 42
const ZERO = 48
const NINE = 57
const UNDERSCORE = 95
const A = 97
const Z = 122

function refusal(refused: string): Refusal {
  return Object.freeze({ refused })
}

// Requests made by hand, by a spec or a serverless adapter, often have only `headers`.
function rebuildRawHeaders(req: IncomingMessage): string[] {
  return ['host', 'x-forwarded-host'].flatMap(name => {
    const value = req.headers?.[name]
    return value === undefined ? [] : [name, String(value)]
  })
}

// Setting the bit 0x20 lowers a letter, and turns no other character into h, o, s or t.
function isHost(name: string): boolean {
  return (
    (name.charCodeAt(0) | 32) === 104 &&
    (name.charCodeAt(1) | 32) === 111 &&
    (name.charCodeAt(2) | 32) === 115 &&
    (name.charCodeAt(3) | 32) === 116
  )
}

// RFC 9112 §3.2.2: the target's authority takes precedence over Host. An app would still read Host, so a pair that
// differs is refused instead of being served by one app under the other's name. HTTP/2 and 3 put the authority of the
// target into a field of its own.
function hostOfTarget(
  target: string,
  host: string | undefined,
  authority: string | undefined,
  scheme: string | undefined,
): string | Refusal | undefined {
  const first = target.charCodeAt(0)
  if (first === SLASH || first === ASTERISK) {
    return authority === undefined ? host : agree(authority, host, scheme)
  }
  const url = /^(https?):\/\/([^/?#]*)/i.exec(target)
  if (url === null || authority !== undefined) return BAD_TARGET
  const urlScheme = url[1]
  const urlAuthority = url[2] as string
  return urlAuthority.includes('@') ? USERINFO : agree(urlAuthority, host, urlScheme)
}

function agree(authority: string, host: string | undefined, scheme: string | undefined): string | Refusal {
  const hostname = parseHost(authority)
  if (isRefusal(hostname)) return hostname
  if (host === undefined) return authority
  const other = parseHost(host)
  if (isRefusal(other)) return other
  const defaultPort = scheme?.toLowerCase() === 'http' ? 80 : 443
  const isSame = hostname === other && portOf(authority, defaultPort) === portOf(host, defaultPort)
  return isSame ? authority : DIFFERENT
}

function portOf(host: string, defaultPort: number): number {
  return Number(/:(\d+)$/.exec(host)?.[1] ?? defaultPort)
}

function firstOf(list: string): string | Refusal {
  return trimBlanks(list.split(',', 1)[0] as string) || EMPTY
}

// Not `trim()`, which would also remove a no-break space that the proxy saw as part of the name.
function trimBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (isBlank(text, start)) start++
  while (isBlank(text, end - 1)) end--
  return text.slice(start, end)
}

function isBlank(text: string, index: number): boolean {
  return text[index] === ' ' || text[index] === '\t'
}

function isRefusal(value: string | Refusal | undefined): value is Refusal {
  return typeof value === 'object'
}

function normalise(host: string): string | Refusal {
  if (host.startsWith('[')) return normaliseIPv6(host)
  const colon = host.indexOf(':')
  if (colon >= 0 && !isPort(host.slice(colon + 1))) return BAD_PORT
  const written = colon < 0 ? host : host.slice(0, colon)
  const name = written.endsWith('.') ? written.slice(0, -1) : written
  // Before the case is changed: `toLowerCase()` turns the Kelvin sign into a `k`.
  if (/[^\w.-]/.test(name)) return BAD_CHARACTER
  const lowered = name.toLowerCase()
  return checkName(lowered) ?? lowered
}

function normaliseIPv6(host: string): string | Refusal {
  const parts = host.slice(1).split(']')
  const [address, rest] = parts as [string, string]
  // A zone id names an interface of this machine, not a host (RFC 9844).
  if (parts.length !== 2 || address.includes('%') || !isIPv6(address)) return BAD_IPV6
  if (rest !== '' && !(rest.startsWith(':') && isPort(rest.slice(1)))) return BAD_PORT
  return `[${address.toLowerCase()}]`
}

function isPort(text: string): boolean {
  return /^\d*$/.test(text) && Number(text) <= MAX_PORT
}

// Every request comes through here, nearly always with a name that is canonical already: one pass, nothing
// allocated.
function checkName(name: string): Refusal | undefined {
  const { length } = name
  if (length === 0) return EMPTY
  if (length > MAX_NAME) return LONG_NAME
  let labelStart = 0
  let isNumber = true
  let previous = DOT
  for (let i = 0; i < length; i++) {
    const code = name.charCodeAt(i)
    if (code === DOT) {
      const refused = checkLabelEnd(previous, i - labelStart)
      if (refused !== undefined) return refused
      labelStart = i + 1
      isNumber = true
    } else if (code === HYPHEN) {
      if (previous === DOT) return EDGE_HYPHEN
      isNumber = false
    } else if ((code >= A && code <= Z) || code === UNDERSCORE) {
      isNumber = false
    } else if (code < ZERO || code > NINE) {
      return BAD_CHARACTER
    }
    previous = code
  }
  const refused = checkLabelEnd(previous, length - labelStart)
  if (refused !== undefined) return refused
  if (isNumber ? !isIPv4(name) : isHexNumber(name, labelStart)) return BAD_IPV4
  return isWindows && isDosDevice(name) ? DOS_DEVICE : undefined
}

function checkLabelEnd(last: number, length: number): Refusal | undefined {
  if (last === DOT) return EMPTY_LABEL
  if (last === HYPHEN) return EDGE_HYPHEN
  return length > MAX_LABEL ? LONG_LABEL : undefined
}

// Browsers take `0x7f000001`, and any host that ends in such a label, for an IPv4 address (WHATWG URL, "ends in a
// number").
function isHexNumber(name: string, labelStart: number): boolean {
  return name.charCodeAt(labelStart) === ZERO && /^0x[\da-f]*$/.test(name.slice(labelStart))
}
