import type { Stats } from 'node:fs'
import { access, constants, lstat, realpath, stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname, isAbsolute, join, relative, sep, win32 } from 'node:path'
import express from 'express'
import { VhostError } from './errors.ts'
import { optionError } from './option-error.ts'

export interface StaticOptions {
  /**
   * The document root's folder inside a vhost. It may not be, hold or lie in what holds code or secrets: the
   * app folder, the folder of packages, `certs`, `tmp`, dot folders. @default 'static'
   */
  dir?: string | undefined
  /**
   * Which symbolic links are followed. `'owner'`: those that lead inside the document root, and those whose
   * target has the link's owner; `'any'`: all; `'none'`: none below the document root, nor one that takes the
   * document root itself out of the release. The app, `certs` and dot files of the release are never given
   * away. @default 'owner'
   */
  links?: 'owner' | 'any' | 'none' | undefined
  /** Whether byte ranges are served. @default true */
  acceptRanges?: boolean | undefined
  /** Whether `Cache-Control` is sent; `false` ignores `immutable` and `maxAge`. @default true */
  cacheControl?: boolean | undefined
  /**
   * What becomes of paths in which a name begins with a dot: served, refused with 403, or taken as absent.
   * Unset: taken as absent, but for `/.well-known/` (RFC 8615).
   */
  dotfiles?: 'allow' | 'deny' | 'ignore' | undefined
  /** Whether a weak `ETag` is sent. @default true */
  etag?: boolean | undefined
  /** Extensions to try, without their dot and in order, where a file is not found. @default false */
  extensions?: string | readonly string[] | false | undefined
  /**
   * Whether what is not found goes on to the next middleware as if nothing had been asked; `false` makes it
   * an error with status 404. A vhost without a document root always goes on. @default true
   */
  fallthrough?: boolean | undefined
  /** Whether `Cache-Control` says `immutable`; wants a `maxAge`. @default false */
  immutable?: boolean | undefined
  /** The file served for a folder; of an array the first that is there; `false` for none. @default 'index.html' */
  index?: string | readonly string[] | false | undefined
  /** Whether `Last-Modified` is sent. @default true */
  lastModified?: boolean | undefined
  /** How long clients may cache, in milliseconds, or a text such as `'1d'`. @default 0 */
  maxAge?: number | string | undefined
  /** Whether a folder asked for without its last slash is redirected to it. @default true */
  redirect?: boolean | undefined
  /** Sets headers of its own on the response; called synchronously, before they are sent. */
  setHeaders?: ((res: ServerResponse, path: string, stat: Stats) => void) | undefined
}

/**
 * Checks the options once; returns what serves one vhost's document root.
 *
 * @throws TypeError `ERR_VHOST_OPTION` for an unknown option or a bad value.
 */
export function documentRoot(
  options: StaticOptions | undefined,
  settings: { appDir: string; modulesDir: string },
): (realPath: string, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void {
  const rules = resolveRules(options, settings)
  return function serveDocument(realPath, req, res, next) {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      next()
      return
    }
    findDocument(realPath, req, rules).then(
      document => {
        if (document === 'no document root') next()
        else if (document !== undefined) serve(document, req, res, rules, next)
        else if (rules.fallthrough) next()
        else next(plainError(404, 'Not Found'))
      },
      error => next(withoutPaths(error)),
    )
  }
}

interface Rules {
  readonly dir: readonly string[]
  readonly appDir: readonly string[]
  readonly modulesDirs: readonly string[][]
  readonly links: 'owner' | 'any' | 'none'
  readonly dotfiles: StaticOptions['dotfiles']
  readonly extensions: readonly string[]
  readonly index: readonly string[]
  readonly fallthrough: boolean
  /** What express.static is left to decide. */
  readonly express: Record<string, unknown>
}

interface Root {
  readonly path: string
  readonly app: string
  readonly certs: string
}

interface Target {
  readonly segments: readonly string[]
  readonly hasTrailingSlash: boolean
}

interface Document {
  readonly root: string
  readonly segments: readonly string[]
}

const CHECKS: { readonly [name in keyof StaticOptions]-?: readonly [(value: unknown) => boolean, string] } = {
  dir: [value => typeof value === 'string', 'the name of a folder inside the vhost'],
  links: [oneOf('owner', 'any', 'none'), "'owner', 'any' or 'none'"],
  acceptRanges: [isBoolean, 'a boolean'],
  cacheControl: [isBoolean, 'a boolean'],
  dotfiles: [oneOf('allow', 'deny', 'ignore'), "'allow', 'deny' or 'ignore'"],
  etag: [isBoolean, 'a boolean'],
  extensions: [areNames, 'an extension without its dot, an array of them, or false'],
  fallthrough: [isBoolean, 'a boolean'],
  immutable: [isBoolean, 'a boolean'],
  index: [areNames, 'a file name, an array of them, or false'],
  lastModified: [isBoolean, 'a boolean'],
  maxAge: [isDuration, "a number of milliseconds, or a text such as '1d'"],
  redirect: [isBoolean, 'a boolean'],
  setHeaders: [value => typeof value === 'function', 'a function'],
}

function resolveRules(options: unknown, settings: { appDir: string; modulesDir: string }): Rules {
  if (options !== undefined && (typeof options !== 'object' || options === null || Array.isArray(options))) {
    throw optionError(`static() takes an object of options, not ${shown(options)}`)
  }
  const given = Object.entries(options ?? {})
  for (const [name, value] of given) checkOption(name, value)
  const {
    dir = 'static',
    links = 'owner',
    dotfiles,
    extensions,
    index = 'index.html',
    fallthrough = true,
    ...own
  } = Object.fromEntries(given.filter(([, value]) => value !== undefined)) as StaticOptions
  const appDir = segmentsOf(settings.appDir)
  const modulesDirs = [...new Set(['node_modules', settings.modulesDir])].map(segmentsOf)
  return {
    dir: resolveDir(dir, appDir, modulesDirs),
    appDir,
    modulesDirs,
    links,
    dotfiles,
    extensions: [extensions || []].flat(),
    index: [index || []].flat(),
    fallthrough,
    // The dot files are sorted out by then, or it is for express.static to sort them out.
    express: { ...own, fallthrough, dotfiles: dotfiles ?? 'allow', index: false },
  }
}

function checkOption(name: string, value: unknown): void {
  if (!Object.hasOwn(CHECKS, name)) {
    throw optionError(`static() has no option ${shown(name)}; did you mean '${nearestOption(name)}'?`)
  }
  const [isGood, expected] = CHECKS[name as keyof StaticOptions]
  if (value !== undefined && !isGood(value)) {
    throw optionError(`option '${name}' of static() must be ${expected}, not ${shown(value)}`)
  }
}

function resolveDir(dir: string, appDir: readonly string[], modulesDirs: readonly string[][]): string[] {
  const refusal = (reason: string) => optionError(`option 'dir' of static(): ${shown(dir)} ${reason}`)
  if (isAbsolute(dir) || win32.isAbsolute(dir) || /^[a-z]:/i.test(dir) || dir.includes('\0')) {
    throw refusal('is not the name of a folder inside the vhost')
  }
  const segments = segmentsOf(dir)
  if (segments.includes('..')) throw refusal('leads out of the vhost')
  if (segments.length === 0) throw refusal('would give away the whole vhost')
  if (appDir.length > 0 && overlap(appDir, segments)) throw refusal('would give away the app folder')
  if (segments.includes('node_modules') || modulesDirs.some(folder => overlap(folder, segments))) {
    throw refusal('would give away the packages of the app')
  }
  if (segments[0] === 'certs' || segments[0] === 'tmp' || isHidden(segments)) {
    throw refusal('would give away what is not meant for clients')
  }
  return segments
}

/** What to serve; nothing where there is no such document or it may not be given away. */
async function findDocument(
  realPath: string,
  req: IncomingMessage,
  rules: Rules,
): Promise<Document | 'no document root' | undefined> {
  const root = await findRoot(realPath, rules)
  if (root === undefined) return 'no document root'
  const target = targetOf(req, rules)
  const segments = target && (await findFile(root.path, target, rules))
  if (segments === undefined) return undefined
  const path = join(root.path, ...segments)
  const [file, isReadable] = await Promise.all([
    ifThere(realpath(path)),
    // Found out too late, in the midst of an answer, it could not become a plain "not found" any more.
    ifThere(access(path, constants.R_OK).then(() => true)),
  ])
  if (file === undefined || !isReadable) return undefined
  if (isSecret(file, realPath, root)) return undefined
  if (file !== path && !(await mayServe(file, segments, root, rules))) return undefined
  return { root: root.path, segments }
}

/** The document root with its links resolved; nothing where it is absent, or would give away more than documents. */
async function findRoot(realPath: string, rules: Rules): Promise<Root | undefined> {
  const folders = [rules.dir, rules.appDir, ['certs'], ...rules.modulesDirs]
  const [path, app, certs, ...modules] = await Promise.all(
    folders.map(async (folder, index) => {
      const lexical = join(realPath, ...folder)
      return (await ifThere(realpath(lexical))) ?? (index === 0 ? undefined : lexical)
    }),
  )
  if (path === undefined || app === undefined || certs === undefined) return undefined
  if (isWithin(path, realPath) || isWithin(path, app)) return undefined
  if (rules.appDir.length > 0 && isWithin(app, path)) return undefined
  for (const folder of [certs, ...modules]) {
    if (folder === undefined || isWithin(folder, path) || isWithin(path, folder)) return undefined
  }
  if (isWithin(realPath, path)) {
    if (isHidden(segmentsOf(relative(realPath, path)))) return undefined
  } else if (!(await mayFollow(rules.links, realPath, rules.dir, path))) {
    return undefined
  }
  return { path, app, certs }
}

/**
 * The path asked for; nothing where it can name no document.
 *
 * @throws VhostError `ERR_VHOST_PATH` when it cannot be decoded, or holds a NUL.
 */
function targetOf(req: IncomingMessage, { dotfiles }: Rules): Target | undefined {
  const pathname = pathnameOf(originForm(req.url ?? ''))
  // An encoded slash is no separator (RFC 3986 §2.2), and no file name holds one.
  if (/%2f/i.test(pathname)) return undefined
  const decoded = decode(pathname)
  if (decoded === undefined || decoded.includes('\\')) return undefined
  const segments = decoded.split('/').filter(segment => segment !== '')
  if (segments.some(segment => segment === '.' || segment === '..')) return undefined
  if (dotfiles === undefined && isHidden(segments)) return undefined
  // Mounted below a path, `/mount` arrives as `/`: relative links of the page need the slash there too.
  const isMount = segments.length === 0 && !pathnameOf(originForm(originalUrlOf(req))).endsWith('/')
  return { segments, hasTrailingSlash: decoded.endsWith('/') && !isMount }
}

function decode(pathname: string): string | undefined {
  let decoded: string
  try {
    decoded = decodeURIComponent(pathname)
    // Throws for half a surrogate pair, which no request holds, but a middleware may have put there.
    encodeURIComponent(decoded)
  } catch (cause) {
    // Well-formed bytes that are no UTF-8, such as an overlong dot (%c0%ae), name nothing; they are no bad request.
    if (!/%(?![0-9a-f]{2})/i.test(pathname)) return undefined
    throw new VhostError('ERR_VHOST_PATH', { cause })
  }
  if (decoded.includes('\0')) throw new VhostError('ERR_VHOST_PATH')
  return decoded
}

/** The segments of the file to serve, or of a folder asked for without its slash. */
async function findFile(
  root: string,
  { segments, hasTrailingSlash }: Target,
  { extensions, index }: Rules,
): Promise<readonly string[] | undefined> {
  const found = await ifThere(stat(join(root, ...segments)))
  if (found?.isDirectory()) {
    return hasTrailingSlash
      ? firstFile(
          root,
          index.map(name => [...segments, name]),
        )
      : segments
  }
  const last = segments.at(-1)
  if (hasTrailingSlash || last === undefined) return undefined
  // A pipe or a device would be read for ever.
  if (found) return found.isFile() ? segments : undefined
  if (extname(last) !== '') return undefined
  return firstFile(
    root,
    extensions.map(extension => [...segments.slice(0, -1), `${last}.${extension}`]),
  )
}

async function firstFile(root: string, candidates: readonly string[][]): Promise<string[] | undefined> {
  for (const segments of candidates) {
    if ((await ifThere(stat(join(root, ...segments))))?.isFile()) return segments
  }
  return undefined
}

function isSecret(file: string, realPath: string, root: Root): boolean {
  if (isWithin(root.certs, file)) return true
  if (isWithin(root.path, file)) return false
  if (isWithin(root.app, file)) return true
  return (
    isWithin(realPath, file) &&
    (isHidden(segmentsOf(relative(realPath, file))) ||
      file === join(realPath, 'package.json') ||
      file === join(realPath, 'package-lock.json'))
  )
}

/** Whether a file may be served that stands elsewhere than its path says. */
async function mayServe(
  file: string,
  segments: readonly string[],
  root: Root,
  rules: Rules,
): Promise<boolean> {
  if (isWithin(root.path, file)) {
    if (rules.dotfiles !== 'allow' && isHidden(segmentsOf(relative(root.path, file)))) return false
    if (rules.links === 'owner') return true
  }
  return mayFollow(rules.links, root.path, segments, file)
}

async function mayFollow(
  links: Rules['links'],
  base: string,
  segments: readonly string[],
  target: string,
): Promise<boolean> {
  if (links === 'any') return true
  const entries = await ifThere(
    Promise.all([
      stat(target),
      ...segments.map((_, index) => lstat(join(base, ...segments.slice(0, index + 1)))),
    ]),
  )
  if (entries === undefined) return false
  const [end, ...passed] = entries
  const followed = passed.filter(entry => entry.isSymbolicLink())
  return links === 'none' ? followed.length === 0 : followed.every(link => link.uid === end.uid)
}

function serve(
  { root, segments }: Document,
  req: IncomingMessage,
  res: ServerResponse,
  rules: Rules,
  next: (error?: unknown) => void,
): void {
  // express.static gets the very file that was checked, by a view of the request, so that whoever comes next
  // finds the request as it was. It redirects by originalUrl, which must name no other host.
  const view = Object.create(req, {
    url: { value: `/${segments.map(encodeURIComponent).join('/')}` },
    originalUrl: { value: originForm(originalUrlOf(req)) },
  })
  express.static(root, rules.express)(view, res as express.Response, (error?: unknown) => {
    if (error === undefined) next()
    else next(withoutPaths(error))
  })
}

/** A request target as path and query: no scheme, no host, no fragment, nothing a browser could take for a host. */
function originForm(target: string): string {
  const path = target
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
    .replace(/#.*$/s, '')
    .replaceAll('\\', '%5C')
  return `/${path.replace(/^\/+/, '')}`
}

function originalUrlOf(req: IncomingMessage & { originalUrl?: unknown }): string {
  return typeof req.originalUrl === 'string' ? req.originalUrl : (req.url ?? '')
}

function pathnameOf(originForm: string): string {
  return originForm.replace(/\?.*$/s, '')
}

/** Nothing, where there is no such file or we may not look at it; other failures stay failures. */
async function ifThere<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code)) return undefined
    throw error
  }
}

const ABSENT: ReadonlySet<string | undefined> = new Set([
  'ENOENT',
  'ENOTDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'EACCES',
  'EPERM',
])

/** Express shows an error's message and stack to clients: those of the file system hold paths. */
function withoutPaths(error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error
  return ABSENT.has((error as NodeJS.ErrnoException).code)
    ? plainError(404, 'Not Found', error)
    : plainError(500, 'The document root cannot be read', error)
}

function plainError(status: number, message: string, cause?: unknown): Error {
  const error = new Error(message, { cause })
  error.stack = `Error: ${message}`
  return Object.assign(error, { status, statusCode: status, expose: status < 500 })
}

function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

function isHidden(segments: readonly string[]): boolean {
  return segments.some(
    (segment, index) => segment.startsWith('.') && !(index === 0 && segment === '.well-known'),
  )
}

function segmentsOf(path: string): string[] {
  return path.split(/[\\/]/).filter(segment => segment !== '' && segment !== '.')
}

/** Whether the one path is the other, or leads to it. */
function overlap(one: readonly string[], other: readonly string[]): boolean {
  const shared = Math.min(one.length, other.length)
  return one.slice(0, shared).every((segment, index) => segment === other[index])
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean'
}

function oneOf(...values: readonly string[]): (value: unknown) => boolean {
  return value => values.includes(value as string)
}

function areNames(value: unknown): boolean {
  if (value === false) return true
  return [value].flat().every(name => typeof name === 'string' && /^[^\\/\0]+$/.test(name) && name !== '..')
}

function isDuration(value: unknown): boolean {
  if (typeof value === 'number') return value >= 0
  return (
    typeof value === 'string' &&
    /^\d*\.?\d+ *(ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?|y|yrs?|years?)?$/i.test(
      value,
    )
  )
}

function shown(value: unknown): string {
  return typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value))
}

function nearestOption(name: string): string {
  const scored = Object.keys(CHECKS).map(option => ({
    option,
    distance: distance(name.toLowerCase(), option.toLowerCase()),
  }))
  return scored.reduce((best, other) => (other.distance < best.distance ? other : best)).option
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const above = row
    row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(swap, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
  }
  return row[b.length] ?? 0
}
