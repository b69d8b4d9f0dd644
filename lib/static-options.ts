import type { Stats } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { isAbsolute, win32 } from 'node:path'
import { entityTag } from './document-root/entity-tag.ts'
import { givenOptions } from './options/given-options.ts'
import { optionError, shown } from './options/option-error.ts'

/** Options of `static()`: its own two, and those of `express.static`. */
export interface StaticOptions {
  /**
   * The document root's folder inside a vhost. It must not be, contain or lie in a folder that holds code or secrets:
   * the app folder, the folder of packages, `certs`, `tmp`, dot folders. @default 'static'
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
   * What becomes of paths in which a name begins with a dot: served, refused with 403, or treated as absent. Unset:
   * treated as absent, except `/.well-known/` (RFC 8615).
   */
  dotfiles?: 'allow' | 'deny' | 'ignore' | undefined
  /** Whether a weak `ETag` is sent. @default true */
  etag?: boolean | undefined
  /** Extensions to try, without their dot and in order, if a file is not found. @default false */
  extensions?: string | readonly string[] | false | undefined
  /**
   * Whether a request for what is not found goes on to the next middleware; `false` makes it an error with status 404,
   * and answers methods other than GET and HEAD with 405. If a vhost has no document root, it always goes on.
   * @default true
   */
  fallthrough?: boolean | undefined
  /** Whether `Cache-Control` says `immutable`; needs a `maxAge`. @default false */
  immutable?: boolean | undefined
  /** The file served for a folder; of an array, the first that is there; `false` for none. @default 'index.html' */
  index?: string | readonly string[] | false | undefined
  /** Whether `Last-Modified` is sent. @default true */
  lastModified?: boolean | undefined
  /** How long clients may cache, in milliseconds, or as a text such as `'1d'`. @default 0 */
  maxAge?: number | string | undefined
  /** Whether a request for a folder without its trailing slash is redirected to the path with it. @default true */
  redirect?: boolean | undefined
  /** Sets further headers on the response; called synchronously, before they are sent. What it throws goes to `next()`. */
  setHeaders?: ((res: ServerResponse, path: string, stat: Stats) => void) | undefined
}

export type SetHeaders = NonNullable<StaticOptions['setHeaders']>

/** The options checked and completed. */
export interface StaticRules {
  readonly dir: readonly string[]
  readonly appDir: readonly string[]
  readonly modulesDirs: readonly string[][]
  readonly links: 'owner' | 'any' | 'none'
  readonly dotfiles: StaticOptions['dotfiles']
  readonly extensions: readonly string[]
  readonly index: readonly string[]
  readonly fallthrough: boolean
  /** What is left to express.static to decide. */
  readonly express: Record<string, unknown> & { readonly setHeaders: SetHeaders }
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

/** @throws TypeError `ERR_VHOST_OPTION` for an unknown option or a bad value */
export function resolveStaticOptions(
  options: unknown = {},
  settings: { appDir: string; modulesDir: string },
): StaticRules {
  const given = Object.entries(givenOptions('static()', options as StaticOptions, Object.keys(CHECKS)))
  for (const [name, value] of given) checkOption(name as keyof StaticOptions, value)
  const {
    dir = 'static',
    links = 'owner',
    dotfiles,
    extensions,
    index = 'index.html',
    fallthrough = true,
    setHeaders,
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
    // If `dotfiles` is unset, dot files have been refused by then; if not, express.static decides.
    express: {
      ...own,
      fallthrough,
      dotfiles: dotfiles ?? 'allow',
      index: false,
      setHeaders(res: ServerResponse, path: string, stats: Stats): void {
        setHeaders?.(res, path, stats)
        if (own.etag !== false && !res.hasHeader('ETag')) res.setHeader('ETag', entityTag(stats))
      },
    },
  }
}

function checkOption(name: keyof StaticOptions, value: unknown): void {
  const [isGood, expected] = CHECKS[name]
  if (value !== undefined && !isGood(value)) {
    throw optionError(`option '${name}' of static() must be ${expected}, not ${shown(value)}`)
  }
}

function resolveDir(dir: string, appDir: readonly string[], modulesDirs: readonly string[][]): string[] {
  const segments = segmentsInside(dir, 'static()')
  const refusal = (reason: string) => badDir(dir, 'static()', reason)
  if (appDir.length > 0 && overlap(appDir, segments)) throw refusal('would expose the app folder')
  if (segments.includes('node_modules') || modulesDirs.some(folder => overlap(folder, segments))) {
    throw refusal('would expose the packages of the app')
  }
  if (segments[0] === 'certs' || segments[0] === 'tmp' || isHidden(segments)) {
    throw refusal('would expose what is not meant for clients')
  }
  return segments
}

/**
 * The names on the way to a document root.
 * @throws TypeError `ERR_VHOST_OPTION` if it is not inside the vhost
 */
export function segmentsInside(dir: string, owner: string): string[] {
  if (isAbsolute(dir) || win32.isAbsolute(dir) || /^[a-z]:/i.test(dir) || dir.includes('\0')) {
    throw badDir(dir, owner, 'is not the name of a folder inside the vhost')
  }
  const segments = segmentsOf(dir)
  if (segments.includes('..')) throw badDir(dir, owner, 'leads out of the vhost')
  if (segments.length === 0) throw badDir(dir, owner, 'would expose the whole vhost')
  return segments
}

function badDir(dir: string, owner: string, reason: string): TypeError {
  return optionError(`option 'dir' of ${owner}: ${shown(dir)} ${reason}`)
}

/** Whether a name on the way begins with a dot; `.well-known` may come first (RFC 8615). */
export function isHidden(segments: readonly string[]): boolean {
  return segments.some(
    (segment, index) => segment.startsWith('.') && !(index === 0 && segment === '.well-known'),
  )
}

export function segmentsOf(path: string): string[] {
  return path.split(/[\\/]/).filter(segment => segment !== '' && segment !== '.')
}

/** Whether the paths are equal, or one of them contains the other. */
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
