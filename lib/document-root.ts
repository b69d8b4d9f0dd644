import type { ReadStream, Stats } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeader, ServerResponse } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import express from 'express'
import { cutAnswer } from './answers/cut-answer.ts'
import { isQueued } from './answers/is-queued.ts'
import {
  ABSENT,
  type Document,
  findDocument,
  originalUrlOf,
  originForm,
} from './document-root/find-document.ts'
import { ignoresRange } from './document-root/ignores-range.ts'
import { openedDocument } from './document-root/opened-document.ts'
import { VhostError } from './errors.ts'
import { isClientGone } from './launch/client-gone.ts'
import {
  resolveStaticOptions,
  type SetHeaders,
  type StaticOptions,
  type StaticRules,
} from './static-options.ts'

/** The tag of no file: express.static ignores a range with this condition. */
const NO_TAG = '""'

/** How many times a document is looked for that is replaced each time between the look and its opening. */
const MOST_LOOKS = 5

/**
 * Serves from the document root of the release at a real path; if there is no such document, `missed` is asked first.
 */
type ServeDocument = (
  realPath: string,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
  missed?: Missed,
) => void

/**
 * Calls `on` unless the document is to be looked for elsewhere. `isGone` says that there are neither documents nor an
 * app, as after a release was deleted.
 */
type Missed = (on: () => void, isGone: boolean) => void

/**
 * Checks the options once; returns the function that serves a vhost's document root.
 *
 * @throws TypeError `ERR_VHOST_OPTION` for an unknown option or a bad value.
 */
export function documentRoot(
  options: StaticOptions | undefined,
  settings: { appDir: string; modulesDir: string },
): ServeDocument {
  const rules = resolveStaticOptions(options, settings)
  return function serveDocument(realPath, req, res, next, missed = on => on()) {
    const isRead = req.method === 'GET' || req.method === 'HEAD'
    if (!isRead && rules.fallthrough) {
      next()
      return
    }
    look(MOST_LOOKS)

    function look(looks: number): void {
      findDocument(realPath, req, rules).then(
        document => {
          if (document === undefined) missed(notFound, false)
          else if (document === 'no document root') missed(next, false)
          else if (document === 'nothing at all') missed(next, true)
          else if (!isRead) refuseMethod(res)
          else
            serve(document, req, res, rules, next, (error, isExchanged) => failed(error, isExchanged, looks))
        },
        error => next(withoutPaths(error)),
      )
    }

    function notFound(): void {
      if (rules.fallthrough) next()
      else if (!isRead) refuseMethod(res)
      else next(httpError(404, 'Not Found'))
    }

    function failed(error: unknown, isExchanged: boolean, looks: number): void {
      if (isExchanged && looks > 1) look(looks - 1)
      // A document that is gone before it is opened counts as not found.
      else if (error === undefined || isNotFound(error)) missed(notFound, false)
      else next(withoutPaths(error))
    }
  }
}

/**
 * `next` gets what the option `setHeaders` throws; `failed` is also told whether something else was there when the
 * document was opened.
 */
function serve(
  document: Document,
  req: IncomingMessage,
  res: ServerResponse,
  rules: StaticRules,
  next: (error: unknown) => void,
  failed: (error: unknown, isExchanged: boolean) => void,
): void {
  // Waits for the answer's turn: a file opened earlier would stay open if the client left meanwhile.
  if (isQueued(req, res)) {
    res.once('socket', () => serve(document, req, res, rules, next, failed))
    return
  }
  const { root, segments, file } = document
  let announced: Stats | undefined
  let isExchanged = false
  let thrown: { error: unknown } | undefined
  const fs = openedDocument(
    file,
    () => announced,
    () => {
      isExchanged = true
    },
  )
  const takeBack = rememberHead(res)
  // express.static gets the very file that was checked, through a view of the request, so that the next middleware
  // finds the request as it was. It redirects by originalUrl, which must name no other host.
  const view = Object.create(req, {
    url: { value: `/${segments.map(encodeURIComponent).join('/')}` },
    originalUrl: { value: originForm(originalUrlOf(req)) },
  })
  const setHeaders: SetHeaders = (_, path, stats) => {
    try {
      rules.express.setHeaders(res, path, stats)
    } catch (error) {
      thrown = { error: error || new Error('setHeaders() threw nothing') }
      // `send` calls this where nobody catches, and goes on. Of a plain GET it opens what was announced, which fails.
      Object.defineProperty(view, 'method', { value: 'GET' })
      Object.defineProperty(view, 'headers', { value: {} })
      return
    }
    announced = stats
    // One byte is read even of an empty file: if there is one by then, it would be taken for the start of the next
    // answer.
    if (stats.size === 0) Object.defineProperty(view, 'method', { value: 'HEAD' })
    const lastModified = String(res.getHeader('Last-Modified') ?? stats.mtime.toUTCString())
    if (ignoresRange(req.headers, lastModified, stats)) {
      Object.defineProperty(view, 'headers', { value: { ...req.headers, 'if-range': NO_TAG } })
    }
  }
  const piped = (stream: ReadStream): void => {
    // An HTTP/2 response that was closed before never says so again, and nobody would close the file.
    if (isClientGone(req, res)) stream.destroy()
    else cutIfShort(stream, res)
  }
  res.once('pipe', piped)
  // express.static hands options that it does not know to fs.createReadStream().
  const options = { ...rules.express, setHeaders, fs } as object
  express.static(root, options)(view, res as express.Response, (error?: unknown) => {
    res.off('pipe', piped)
    if (!res.headersSent) takeBack()
    if (thrown) next(thrown.error)
    else failed(error, isExchanged)
  })
}

/** As express.static answers. */
function refuseMethod(res: ServerResponse): void {
  // Others may have answered while the document root was looked for.
  if (res.headersSent) return
  res.statusCode = 405
  res.setHeader('Allow', 'GET, HEAD')
  res.setHeader('Content-Length', '0')
  res.end()
}

/**
 * Returns a function that takes back what was set for a file that is not served after all: its length, its tag, how long
 * it may be cached, and whatever the option `setHeaders` has replaced.
 */
function rememberHead(res: ServerResponse): () => void {
  const before = new Map<string, OutgoingHttpHeader>()
  for (const [name, value] of Object.entries(res.getHeaders())) {
    // appendHeader() adds to an array in its place.
    if (value !== undefined) before.set(name, Array.isArray(value) ? [...value] : value)
  }
  const { statusCode } = res
  return () => {
    for (const name of res.getHeaderNames()) if (!before.has(name)) res.removeHeader(name)
    for (const [name, value] of before) {
      if (!isDeepStrictEqual(res.getHeader(name), value)) res.setHeader(name, value)
    }
    res.statusCode = statusCode
  }
}

/** A file that is overwritten meanwhile may be shorter than announced: the client would wait for the rest. */
function cutIfShort(stream: ReadStream, res: ServerResponse): void {
  const length = Number(res.getHeader('Content-Length'))
  // Runs before the listener that ends the answer.
  stream.prependOnceListener('end', () => {
    if (stream.bytesRead < length) cutAnswer(res)
  })
}

function isNotFound(error: unknown): boolean {
  return (error as { status?: unknown }).status === 404
}

/**
 * Express shows an error's message and stack to clients. Those of the file system hold paths, and the stack of an error
 * made by `send` names its own files.
 */
function withoutPaths(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof VhostError) return error
  if (!('syscall' in error)) {
    error.stack = `${error.name}: ${error.message}`
    return error
  }
  return ABSENT.has((error as NodeJS.ErrnoException).code)
    ? httpError(404, 'Not Found', error)
    : httpError(500, 'The document root cannot be read', error)
}

function httpError(status: number, message: string, cause?: unknown): Error {
  const error = new Error(message, { cause })
  error.stack = `Error: ${message}`
  return Object.assign(error, { status, statusCode: status, expose: status < 500 })
}
