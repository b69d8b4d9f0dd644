import { createHash, randomBytes } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { isTold } from './entry/plain-error.ts'
import { VhostError } from './errors.ts'
import { isBelow } from './files/is-within.ts'
import { readSmallFile } from './files/small-file.ts'
import { importOwn } from './handler/package-import.ts'
import type { Next } from './launch/launch.ts'
import { givenOptions } from './options/given-options.ts'
import { optionError, shown } from './options/option-error.ts'
import { attempt, causeOf, stackOf } from './values/thrown.ts'
import type { RoutedRequest } from './vhost-info.ts'

const ABOUT_ANOTHER = new Set([
  'etag',
  'last-modified',
  'cache-control',
  'transfer-encoding',
  'trailer',
  'connection',
  'keep-alive',
  'upgrade',
])

/**
 * Headers that an error may set all the same: how long it may be cached and, with 416, how long the content is (RFC
 * 9110 §15.5.17).
 */
const OF_ERRORS = new Set(['cache-control', 'content-range'])

/** Options of `errorPage()`. */
export interface ErrorPageOptions {
  /**
   * Whether clients may see what went wrong: stacks, code and paths of the machine.
   * @default true unless NODE_ENV is 'production', as in Express
   */
  show?: boolean | undefined
}

type ErrorMiddleware = (
  error: unknown,
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next: (error?: unknown) => void,
) => void

/**
 * Error middleware for development: shows what an app threw while it was loaded or called, with its stack and the file
 * in question. Clients that accept HTML get a page (made by youch, an optional peer), others text. In production, only
 * the status text. It logs nothing, unlike Express's own handler.
 *
 * @example
 * app.use(vhosts)
 * app.use(errorPage()) // last
 *
 * @throws TypeError `ERR_VHOST_OPTION` on an unknown option or a bad value
 */
export function errorPage(options: ErrorPageOptions = {}): ErrorMiddleware {
  const isShown = checkOptions(options).show ?? process.env.NODE_ENV !== 'production'
  // Express takes it for error middleware because of its four parameters.
  return function errorPageMiddleware(error: unknown, req: IncomingMessage, res: ServerResponse, next: Next) {
    // An answer that has begun cannot be replaced: Express breaks the connection.
    if (res.headersSent) {
      next(error)
      return
    }
    answer(error, isShown, req, res).catch(next)
  } as ErrorMiddleware
}

async function answer(
  error: unknown,
  isShown: boolean,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const known = statusOf(error)
  const title = STATUS_CODES[known] as string
  const nonce = randomBytes(16).toString('base64')
  const text = isShown ? shownText(error) : `${title}\n`
  // What youch cannot show, such as an object without a prototype, is shown as text.
  const html =
    isShown && takesHtml(req) ? await htmlOf(error, title, nonce, req).catch(() => undefined) : undefined
  if (res.headersSent || res.destroyed) return
  for (const name of res.getHeaderNames()) if (isAboutContent(name)) res.removeHeader(name)
  addHeaders(res, error)
  // Whatever a message contains, none of it may run as part of the page.
  const policy = html ? policyOf(nonce) : ''
  res.setHeader('Content-Security-Policy', `default-src 'none'; ${policy}base-uri 'none'; form-action 'none'`)
  res.setHeader('X-Content-Type-Options', 'nosniff')
  const body = html ?? text
  // The app may have set a status message for its own answer.
  res.writeHead(known, title, {
    'Content-Type': `text/${html ? 'html' : 'plain'}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
  })
  res.end(body)
}

function statusOf(error: unknown): number {
  const status = attempt(() => Object(error).statusCode ?? Object(error).status)
  return Number.isInteger(status) && status >= 400 && STATUS_CODES[status] ? status : 500
}

/**
 * Sets the headers that an error carries, as those of http-errors do; they may be all those of another server's answer.
 */
function addHeaders(res: ServerResponse, error: unknown): void {
  for (const [name, value] of attempt(() => Object.entries(Object(Object(error).headers))) ?? []) {
    // If Node refuses a header, the error is answered all the same.
    const lower = name.toLowerCase()
    if (OF_ERRORS.has(lower) || !isAboutContent(lower)) attempt(() => res.setHeader(name, String(value)))
  }
}

/** The handler of youch's copy button; no other script in an attribute may run. */
const COPY = createHash('sha256').update('copyErrorMessage(this)').digest('base64')

/** youch sets the place of the marked line, and the number of the first one, in style attributes. */
function policyOf(nonce: string): string {
  return [
    `style-src 'nonce-${nonce}'; style-src-attr 'unsafe-inline'; img-src data:; `,
    `script-src 'nonce-${nonce}'; script-src-attr 'unsafe-hashes' 'sha256-${COPY}'; `,
  ].join('')
}

/** The part of youch that is used here. */
interface Youch {
  defineSourceLoader(load: (frame: { fileName?: string }) => Promise<Source | undefined>): unknown
  toHTML(error: unknown, options: object): Promise<string>
}

interface Source {
  readonly contents: string
}

async function htmlOf(
  error: unknown,
  title: string,
  cspNonce: string,
  { url, method, vhost }: RoutedRequest,
): Promise<string | undefined> {
  const found = (await importOwn('youch')) as { Youch: new () => Youch } | undefined
  if (!found) return undefined
  const youch = new found.Youch()
  const cause = causeIn(error)
  // The router would read the files that this stack names, and it may read what the app may not.
  if (isTold(cause)) youch.defineSourceLoader(({ fileName }) => sourceWithin(vhost?.realPath, fileName))
  // Not the headers: they include cookies.
  return await youch.toHTML(withFrame(cause), { title, cspNonce, request: { url, method } })
}

/** The text of a file in a folder; undefined if it lies elsewhere or cannot be read. */
async function sourceWithin(
  folder: string | undefined,
  file: string | undefined,
): Promise<Source | undefined> {
  if (folder === undefined || file === undefined) return undefined
  try {
    const path = await realpath(file)
    return isBelow(path, folder) ? { contents: await readSmallFile(path) } : undefined
  } catch {
    return undefined
  }
}

/** What an app threw, behind the router's own error. */
function causeIn(error: unknown): unknown {
  return error instanceof VhostError && error.cause !== undefined ? error.cause : error
}

/**
 * The same error; if it is a syntax error from CommonJS, with its file as the first frame of the stack, since Node
 * writes that file before the message.
 */
function withFrame(error: unknown): unknown {
  const stack = stackOf(error)
  const [, file, line] = /^(.+):(\d+)\n/.exec(stack ?? '') ?? []
  if (!(error instanceof SyntaxError) || stack === null || file === undefined) return error
  const frames = stack.split('\n').filter(text => /^ {4}at /.test(text))
  const copy = new SyntaxError(error.message)
  copy.stack = [String(error), `    at ${file}:${line}:1`, ...frames].join('\n')
  return copy
}

function shownText(error: unknown): string {
  const cause = causeIn(error)
  const text = stackOf(cause) ?? causeOf(cause)
  return cause === error ? `${text}\n` : `${(error as Error).message}\n\n${text}\n`
}

function takesHtml({ headers }: IncomingMessage): boolean {
  return /\btext\/html\b/i.test(headers.accept ?? '')
}

/** Whether a header describes another answer, which is not given: its content, or how it was to be sent. */
function isAboutContent(name: string): boolean {
  return name.startsWith('content-') || ABOUT_ANOTHER.has(name)
}

function checkOptions(options: ErrorPageOptions): ErrorPageOptions {
  const { show } = givenOptions('errorPage()', options, ['show'])
  if (show !== undefined && typeof show !== 'boolean') {
    throw optionError(`option 'show' of errorPage() must be true or false, not ${shown(show)}`)
  }
  return { show }
}
