import { access, constants, lstat, realpath, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { extname, isAbsolute, join, relative, sep } from 'node:path'
import { VhostError } from '../errors.ts'
import { isHidden, type StaticRules, segmentsOf } from '../static-options.ts'

export interface Document {
  readonly root: string
  readonly segments: readonly string[]
  /** The document's real path, which may lie elsewhere. */
  readonly file: string
}

/** The document to serve; undefined if there is none or it may not be given away. */
export async function findDocument(
  realPath: string,
  req: IncomingMessage,
  rules: StaticRules,
): Promise<Document | 'no document root' | 'nothing at all' | undefined> {
  const root = await findRoot(realPath, rules)
  if (root === undefined) return 'no document root'
  if (root === 'nothing at all') return root
  const target = targetOf(req, rules)
  if (target === undefined) return undefined
  // express.static refuses these without a look at the disk, so that nobody learns which of them are there.
  if (rules.dotfiles === 'deny' && target.segments.some(segment => segment.startsWith('.'))) {
    return { root: root.path, segments: target.segments, file: join(root.path, ...target.segments) }
  }
  const found = await findFile(root.path, target, rules)
  if (found === undefined) return undefined
  const { segments, mode } = found
  const path = join(root.path, ...segments)
  const [file, isAllowed] = await Promise.all([
    ifThere(realpath(path)),
    // Checked now: in the middle of an answer it could no longer become a plain "not found".
    ifThere(access(path, mode).then(() => true)),
  ])
  if (file === undefined || !isAllowed) return undefined
  if (isSecret(file, realPath, root)) return undefined
  if (file !== path && !(await mayServe(file, segments, root, rules))) return undefined
  return { root: root.path, segments, file }
}

/** A request target as path and query: no scheme, no host, no fragment, nothing a browser could take for a host. */
export function originForm(target: string): string {
  const path = target
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
    .replace(/#.*$/s, '')
    .replaceAll('\\', '%5C')
  return `/${path.replace(/^\/+/, '')}`
}

export function originalUrlOf(req: IncomingMessage & { originalUrl?: unknown }): string {
  return typeof req.originalUrl === 'string' ? req.originalUrl : (req.url ?? '')
}

function pathnameOf(originForm: string): string {
  return originForm.replace(/\?.*$/s, '')
}

interface Root {
  readonly path: string
  readonly app: string
  readonly certs: string
}

type Resolved = [path: string, app: string, certs: string, ...modules: string[]]

interface Target {
  readonly segments: readonly string[]
  readonly hasTrailingSlash: boolean
}

interface Found {
  readonly segments: readonly string[]
  /** What must be allowed to serve it. To be redirected to, a folder need not be readable. */
  readonly mode: number
}

/** The document root with its links resolved; undefined if it is absent or would give away more than documents. */
async function findRoot(realPath: string, rules: StaticRules): Promise<Root | 'nothing at all' | undefined> {
  const folders = [rules.dir, rules.appDir, ['certs'], ...rules.modulesDirs]
  const lexical = folders.map(folder => join(realPath, ...folder))
  const found = await Promise.all(lexical.map(folder => ifThere(realpath(folder))))
  const [path] = found
  if (path === undefined) return found[1] === undefined ? 'nothing at all' : undefined
  const [, app, certs, ...modules] = lexical.map((folder, index) => found[index] ?? folder) as Resolved
  if (holds(path, realPath) || holds(path, app)) return undefined
  if (rules.appDir.length > 0 && holds(app, path)) return undefined
  for (const folder of [certs, ...modules]) {
    if (holds(folder, path) || holds(path, folder)) return undefined
  }
  if (holds(realPath, path)) {
    if (isHidden(segmentsOf(relative(realPath, path)))) return undefined
  } else if (!(await mayFollow(rules.links, realPath, rules.dir, path))) {
    return undefined
  }
  return { path, app, certs }
}

/**
 * The path asked for; undefined if it can name no document.
 *
 * @throws VhostError `ERR_VHOST_PATH` if it cannot be decoded, or holds a NUL.
 */
function targetOf(req: IncomingMessage, { dotfiles }: StaticRules): Target | undefined {
  const pathname = pathnameOf(originForm(req.url ?? ''))
  // An encoded slash is not a separator (RFC 3986 §2.2), and no file name holds one.
  if (/%2f/i.test(pathname)) return undefined
  const decoded = decode(pathname)
  if (decoded === undefined || decoded.includes('\\')) return undefined
  const segments = decoded.split('/').filter(segment => segment !== '')
  if (segments.some(segment => segment === '.' || segment === '..')) return undefined
  if (dotfiles === undefined && isHidden(segments)) return undefined
  // Mounted below a path, `/mount` arrives as `/`, but relative links of the page need the slash there too.
  const isMount = segments.length === 0 && !pathnameOf(originForm(originalUrlOf(req))).endsWith('/')
  return { segments, hasTrailingSlash: decoded.endsWith('/') && !isMount }
}

function decode(pathname: string): string | undefined {
  let decoded: string
  try {
    decoded = decodeURIComponent(pathname)
    // Throws for half a surrogate pair, which no request can hold, but a middleware may have put there.
    encodeURIComponent(decoded)
  } catch (cause) {
    // Well-formed escapes that are not UTF-8, such as an overlong dot (%c0%ae), name nothing, but are no bad request.
    if (!/%(?![0-9a-f]{2})/i.test(pathname)) return undefined
    throw new VhostError('ERR_VHOST_PATH', { cause })
  }
  if (decoded.includes('\0')) throw new VhostError('ERR_VHOST_PATH')
  return decoded
}

/** The file to serve, or a folder asked for without its slash. */
async function findFile(
  root: string,
  { segments, hasTrailingSlash }: Target,
  { extensions, index }: StaticRules,
): Promise<Found | undefined> {
  const found = await ifThere(stat(join(root, ...segments)))
  if (found?.isDirectory()) {
    return hasTrailingSlash
      ? firstFile(
          root,
          index.map(name => [...segments, name]),
        )
      : { segments, mode: constants.F_OK }
  }
  const last = segments.at(-1)
  if (hasTrailingSlash || last === undefined) return undefined
  // A pipe or a device would be read for ever.
  if (found) return found.isFile() ? { segments, mode: constants.R_OK } : undefined
  if (extname(last) !== '') return undefined
  return firstFile(
    root,
    extensions.map(extension => [...segments.slice(0, -1), `${last}.${extension}`]),
  )
}

async function firstFile(root: string, candidates: readonly string[][]): Promise<Found | undefined> {
  for (const segments of candidates) {
    if ((await ifThere(stat(join(root, ...segments))))?.isFile()) return { segments, mode: constants.R_OK }
  }
  return undefined
}

const PACKAGE_FILES = ['package.json', 'package-lock.json']

function isSecret(file: string, realPath: string, root: Root): boolean {
  if (holds(root.certs, file)) return true
  if (holds(root.path, file)) return false
  if (holds(root.app, file)) return true
  if (!holds(realPath, file)) return isSecretOfAny(file)
  return (
    isHidden(segmentsOf(relative(realPath, file))) ||
    PACKAGE_FILES.some(name => file === join(realPath, name))
  )
}

/** Whether a file could be the secret of another vhost, by its name and that of its folder. */
function isSecretOfAny(file: string): boolean {
  const [folder = '', name = ''] = segmentsOf(file).slice(-2)
  return folder === 'certs' || isHidden([folder, name]) || PACKAGE_FILES.includes(name)
}

/** Whether a file may be served whose real path is not the path asked for. */
async function mayServe(
  file: string,
  segments: readonly string[],
  root: Root,
  rules: StaticRules,
): Promise<boolean> {
  if (holds(root.path, file)) {
    if (rules.dotfiles !== 'allow' && isHidden(segmentsOf(relative(root.path, file)))) return false
    if (rules.links === 'owner') return true
  }
  return mayFollow(rules.links, root.path, segments, file)
}

async function mayFollow(
  links: StaticRules['links'],
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

/** Resolves to undefined if there is no such file or we may not look at it; other errors reject. */
async function ifThere<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code)) return undefined
    throw error
  }
}

/** Codes of errors that say no more than that there is no such file, or that we may not look at it. */
export const ABSENT: ReadonlySet<string | undefined> = new Set([
  'ENOENT',
  'ENOTDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'EACCES',
  'EPERM',
])

/** Whether a path is a folder or lies in it, by `relative()`, which ignores case on Windows. */
function holds(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}
