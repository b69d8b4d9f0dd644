import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { VhostInfo } from '../vhost-info.ts'
import { type PlainError, plainError, toError } from './messages.ts'

/**
 * What a request and its answer cannot say on a private socket goes in headers. None of these names passes from or to
 * a client.
 */
export const PRIVATE_HEADER: RegExp = /^x-express-van-/i

/** Of the client: address, port, family, protocol, mount path, and the original target where that is not the sum. */
const CLIENT = 'x-express-van-client'
/** `req.vhost`. */
const VHOST = 'x-express-van-vhost'
/** On an answer: the app called `next()`, with what. */
const NEXT = 'x-express-van-next'

const NO_ERROR = '-'
const ABSENT = '-'

/** Who sent a request, and what for. */
export interface Client {
  readonly address: string | undefined
  readonly port: number | undefined
  readonly family: string | undefined
  readonly isEncrypted: boolean
}

type MountedRequest = IncomingMessage & { baseUrl?: string; originalUrl?: string; vhost?: VhostInfo }

/** Adds what the app's side is to know to the headers that it gets, a flat list. */
export function addPrivateHeaders(headers: string[], req: MountedRequest, client: Client): void {
  const { baseUrl = '', originalUrl, url = '', vhost } = req
  const original = originalUrl === undefined || originalUrl === baseUrl + url ? '' : originalUrl
  const fields = [client.address ?? ABSENT, client.port ?? ABSENT, client.family ?? ABSENT]
  const protocol = client.isEncrypted ? 'https' : 'http'
  headers.push(CLIENT, [...fields, protocol, encodeURI(baseUrl), encodeURI(original)].join(' '))
  if (vhost) headers.push(VHOST, textOf(vhost))
}

/** On the app's side: makes a request look as if the client had sent it there. */
export function applyClient(req: MountedRequest): void {
  const client = req.headers[CLIENT]
  const vhost = req.headers[VHOST]
  hide(req)
  if (typeof client !== 'string') return
  const [address, port, family, protocol, baseUrl = '', original = ''] = client.split(' ')
  // Own properties: the pooled connection brings the next request from somebody else.
  const own: Record<string, unknown> = {
    remoteAddress: address === ABSENT ? undefined : address,
    remotePort: port === ABSENT ? undefined : Number(port),
    remoteFamily: family === ABSENT ? undefined : family,
    encrypted: protocol === 'https',
  }
  for (const [name, value] of Object.entries(own)) {
    Object.defineProperty(req.socket, name, { value, configurable: true, writable: true })
  }
  if (baseUrl !== '') req.baseUrl = decodeURI(baseUrl)
  if (baseUrl !== '' || original !== '') {
    req.originalUrl = original === '' ? `${decodeURI(baseUrl)}${req.url}` : decodeURI(original)
  }
  if (typeof vhost === 'string') req.vhost = vhostOf(vhost)
}

/** On the app's side: answers that the app left the request to whoever comes next, with the headers it had set. */
export function passOn(res: ServerResponse, error: unknown): void {
  if (res.headersSent) {
    ;(res.socket as Socket | null)?.destroy()
    return
  }
  for (const name of ['content-length', 'transfer-encoding', 'trailer']) res.removeHeader(name)
  const isNone = error === undefined || error === null || error === 'route' || error === 'router'
  res.setHeader(NEXT, isNone ? NO_ERROR : encode(plainError(error)))
  res.end()
}

/** On the router's side: whether the app called `next()`, and with what; undefined where it has answered. */
export function passedOn({ headers }: IncomingMessage): { error: unknown } | undefined {
  const told = headers[NEXT]
  if (typeof told !== 'string') return undefined
  return { error: told === NO_ERROR ? undefined : toError(decode(told)) }
}

function hide(req: IncomingMessage): void {
  delete req.headers[CLIENT]
  delete req.headers[VHOST]
  const { rawHeaders } = req
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (PRIVATE_HEADER.test(rawHeaders[at] as string)) rawHeaders.splice(at, 2)
  }
}

// In nearly all requests in a row it is the same object, made once by either side.
const texts = new WeakMap<VhostInfo, string>()
let last: { text: string; vhost: VhostInfo } | undefined

function textOf(vhost: VhostInfo): string {
  let text = texts.get(vhost)
  if (text === undefined) {
    text = encode(vhost)
    texts.set(vhost, text)
  }
  return text
}

function vhostOf(text: string): VhostInfo {
  if (last?.text === text) return last.vhost
  const vhost = Object.freeze(decode<VhostInfo>(text))
  last = { text, vhost }
  return vhost
}

function encode(value: VhostInfo | PlainError): string {
  return Buffer.from(JSON.stringify(value)).toString('base64')
}

function decode<T>(text: string): T {
  return JSON.parse(Buffer.from(text, 'base64').toString()) as T
}
