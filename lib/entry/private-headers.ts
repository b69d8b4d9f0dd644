import { IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isNextError } from '../launch/is-next-error.ts'
import { refuseUpgrade } from '../upgrade/refuse-upgrade.ts'
import { bytesWritten } from '../upgrade/websocket-close.ts'
import type { RoutedRequest, VhostInfo } from '../vhost-info.ts'
import { isPlainError, type PlainError, plainError, toError } from './plain-error.ts'

/**
 * Headers carry what a request and its answer cannot say on a private socket. None of these names passes from or to a
 * client.
 */
export const PRIVATE_PREFIX = 'x-express-van-'

/**
 * About the client: address, port, family, protocol, mount path, and the original target unless it is mount path plus
 * URL.
 */
const CLIENT = 'x-express-van-client'
/** `req.vhost`. */
const VHOST = 'x-express-van-vhost'
/** On an answer: the app called `next()`, and with what. */
export const NEXT = 'x-express-van-next'
/** On an answer: part of the request's body was still to come. */
export const LEFT = 'x-express-van-left'

const NO_ERROR = '-'
/** No error either, and the app has read nothing of the body. */
const UNREAD = '+'
const ABSENT = '-'

/** Who sent a request, and what for. */
export interface Client {
  readonly address: string | undefined
  readonly port: number | undefined
  readonly family: string | undefined
  readonly isEncrypted: boolean
}

type MountedRequest = RoutedRequest & { baseUrl?: string; originalUrl?: string }

/**
 * Adds what the app's side must know to the headers that it gets, a flat list. They come first, where none is cut off.
 */
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
  if (typeof client !== 'string') {
    tellClient(req.socket, NOBODY)
    return
  }
  const [address, port, family, protocol, baseUrl = '', original = ''] = client.split(' ')
  // The pooled connection may bring the next request from somebody else.
  tellClient(req.socket, {
    address: address === ABSENT ? undefined : address,
    port: port === ABSENT ? undefined : Number(port),
    family: family === ABSENT ? undefined : family,
    isEncrypted: protocol === 'https',
  })
  // Set here for apps without Express, which sets them itself.
  req.baseUrl = decodeURI(baseUrl)
  req.originalUrl = original === '' ? `${req.baseUrl}${req.url}` : decodeURI(original)
  if (typeof vhost === 'string') req.vhost = vhostOf(vhost)
}

const NOBODY: Client = { address: undefined, port: undefined, family: undefined, isEncrypted: false }
const CLIENT_NOW = Symbol('client')
type ToldSocket = Socket & { [CLIENT_NOW]?: Client; encrypted?: boolean }

function tellClient(socket: ToldSocket, client: Client): void {
  if (!socket[CLIENT_NOW]) Object.defineProperties(socket, CLIENT_PROPERTIES)
  socket[CLIENT_NOW] = client
  socket.encrypted = client.isEncrypted
}

const CLIENT_PROPERTIES: PropertyDescriptorMap & ThisType<ToldSocket> = {
  remoteAddress: {
    get() {
      return this[CLIENT_NOW]?.address
    },
    configurable: true,
  },
  remotePort: {
    get() {
      return this[CLIENT_NOW]?.port
    },
    configurable: true,
  },
  remoteFamily: {
    get() {
      return this[CLIENT_NOW]?.family
    },
    configurable: true,
  },
}

/**
 * On the app's side: answers that the app left the request to the next handler, with the headers that it had set. An
 * answer that has begun goes on, as nobody else can give another. An error goes to stderr then, and cuts the answer
 * unless it is complete.
 */
export function passOn(res: ServerResponse, error: unknown): void {
  const isError = isNextError(error)
  if (res.headersSent) {
    // What follows a first call is not reported in process either.
    if (!isError || res.hasHeader(NEXT)) return
    // It is too late to tell the router.
    console.error(error)
    if (!res.writableEnded) (res.socket as Socket | null)?.destroy()
    return
  }
  for (const name of ['transfer-encoding', 'trailer']) res.removeHeader(name)
  // Without a length the answer would end with its connection.
  res.setHeader('content-length', 0)
  res.setHeader(NEXT, isError ? encode(plainError(error)) : res.req.readableDidRead ? NO_ERROR : UNREAD)
  res.end()
}

/**
 * On the app's side: answers an upgrade with what its listener threw, for the router to report. An answer that has
 * begun is cut.
 */
export function passOnUpgrade(socket: Duplex, error: unknown): void {
  if (bytesWritten(socket) === 0 && socket.writable) {
    refuseUpgrade(socket, 500, `${NEXT}: ${encode(plainError(error))}\r\n`)
    return
  }
  // Nothing can be passed to the router any more.
  console.error(error)
  socket.destroy()
}

/** On the router's side: what the app called `next()` with, according to the header. */
export function passedOn(told: string): unknown {
  if (told === NO_ERROR || told === UNREAD) return undefined
  const plain = decode(told)
  if (!isPlainError(plain)) throw new Error('a private header holds no error')
  return toError(plain)
}

/** On the router's side: whether the app called `next()` without having read anything of the body. */
export function isUnread(told: string): boolean {
  return told === UNREAD
}

/** Where Node keeps the length of `rawHeaders`: when somebody asks for `headersDistinct`, it is made of that many. */
const COUNT = Object.getOwnPropertySymbols(new IncomingMessage(undefined as unknown as Socket)).find(
  ({ description }) => description === 'kHeadersCount',
) as symbol

function hide(req: IncomingMessage): void {
  delete req.headers[VHOST]
  delete req.headers[CLIENT]
  const { rawHeaders } = req
  while (rawHeaders[0]?.startsWith(PRIVATE_PREFIX)) rawHeaders.splice(0, 2)
  Object.assign(req, { [COUNT]: rawHeaders.length })
}

// Nearly all requests in a row have the same object, made once on either side.
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

/** Throws if the text holds no object: an app can set any header. */
function decode<T extends object>(text: string): T {
  const value: unknown = JSON.parse(Buffer.from(text, 'base64').toString())
  if (typeof value !== 'object' || value === null) throw new Error('a private header holds no object')
  return value as T
}
