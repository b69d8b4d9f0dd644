import { existsSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { KnownImports } from './known-imports.ts'
import { candidatesBelow, nameWithExports } from './module-paths.ts'
import { moduleTypeOf } from './module-type.ts'
import { ownFile } from './own-file.ts'
import { foldersAbove, isAbsentPackage, packageName } from './package-folders.ts'
import { findPathCaches, forgetPaths } from './path-caches.ts'

/**
 * Node keeps an ES module for ever, by its URL. So each load of a release is a generation, written into the URL of
 * its entry, and this hook hands the importer's generation on to every file that it imports.
 */
export interface LoadedRelease {
  /** For what a CommonJS module of the release imports: its own URL names no generation. */
  readonly generation: number
  /** Folders where bare imports are looked up last. */
  readonly modulePaths: readonly string[]
}

interface ResolveContext {
  readonly parentURL?: string | undefined
  readonly conditions?: readonly string[]
  readonly importAttributes?: object
}
interface Resolved {
  readonly url: string
  readonly format?: string | null | undefined
  readonly shortCircuit?: boolean
}
type NextResolve<R> = (specifier: string, context?: ResolveContext) => R

interface HookableModule {
  registerHooks?(hooks: { resolve: typeof resolveHere }): void
  register(url: string, options: { data: unknown; transferList: unknown[] }): void
}

/** Of a release that is loaded only once, in a thread or process of its own: its URLs stay as they are. */
export const ONLY_GENERATION = 0

const require = createRequire(import.meta.url)
const GENERATION = /[?&]express-van=(\d+)/

/** Real path → release, of all that are loaded; in the thread of the hooks, a copy. */
const releases = new Map<string, LoadedRelease>()
/** Generations in which something was imported that would be imported anew in another. */
const withImports = new Set<string>()
const imports = new KnownImports<Resolved>()
/** What was imported once for all generations, by its plain URL, with the one in which it was. */
const importedOnce = new Map<string, string>()
let isHooked = false
let hookThread: MessagePort | undefined

/** Installs the hook, once for the process. */
export function hookGenerations(): void {
  if (isHooked) return
  const hookable = Module as unknown as HookableModule
  if (hookable.registerHooks) {
    hookable.registerHooks({ resolve: resolveHere })
    isHooked = true
    return
  }
  // Node 20 runs hooks in a thread of its own, where a bundle would begin the whole program anew.
  const { href } = ownFile('./generation-hook.js', import.meta.url)
  const { port1, port2 } = new MessageChannel()
  hookable.register(href, { data: { port: port2 }, transferList: [port2] })
  isHooked = true
  port1.unref()
  hookThread = port1
}

export function setRelease(realPath: string, release: LoadedRelease): void {
  releases.set(realPath, release)
  imports.begin(String(release.generation))
  hookThread?.postMessage([realPath, release])
}

export function deleteRelease(realPath: string): void {
  releases.delete(realPath)
  hookThread?.postMessage([realPath])
}

/** Forgets what was imported by a generation that has failed or whose app has ended. */
export function endGeneration(generation: number): void {
  imports.end(String(generation))
  hookThread?.postMessage(generation)
}

export function releaseAt(realPath: string): LoadedRelease | undefined {
  return releases.get(realPath)
}

/** The release that a file belongs to. */
export function releaseOf(file: string): LoadedRelease | undefined {
  const realPath = realPathOf(file)
  return realPath === undefined ? undefined : releases.get(realPath)
}

/** The real path of the release that a file belongs to. */
export function realPathOf(file: string): string | undefined {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (releases.has(folder)) return folder
    if (folder === dirname(folder)) return undefined
  }
}

/** Whether a generation has imported something: Node keeps it, and would keep another one of the next. */
export function hasImports(generation: number): boolean {
  for (
    let received = hookThread && receiveMessageOnPort(hookThread);
    received;
    received = hookThread && receiveMessageOnPort(hookThread)
  ) {
    withImports.add(String(received.message))
  }
  return withImports.has(String(generation))
}

/** A URL that names its generation. */
export function withGeneration(url: string, generation: number | string): string {
  return `${url}${url.includes('?') ? '&' : '?'}express-van=${generation}`
}

function resolveHere(specifier: string, context: ResolveContext, next: NextResolve<Resolved>): Resolved {
  // What is required has no URL of its own: require.cache is purged for it.
  if (!context.conditions?.includes('import')) return next(specifier, context)
  const parent = parentOf(context)
  if (!parent) {
    const resolved = next(specifier, context)
    return GENERATION.test(specifier) ? withTypeNow(resolved) : resolved
  }
  const key = keyOf(specifier, parent, context)
  const resolved =
    knownImport(key, parent) ?? noteImport(key, parent, withTypeNow(search(specifier, context, parent, next)))
  return handOn(resolved, parent.generation, isImportedOnce(resolved, parent))
}

function search(
  specifier: string,
  context: ResolveContext,
  parent: Parent,
  next: NextResolve<Resolved>,
): Resolved {
  const nextFor = (request: string, parentURL: string): Resolved =>
    next(request, { ...context, parentURL: named(parentURL, parent.generation) })
  try {
    expectPackage(specifier, parent.file)
    return nextFor(specifier, parent.url)
  } catch (error) {
    for (const [candidate, parentURL] of candidatesBelow(parent.modulePaths, specifier, error)) {
      try {
        return nextFor(candidate, parentURL ?? parent.url)
      } catch {}
    }
    throw error
  }
}

/**
 * Node reads each package.json once, so it would refuse an app whose `type` was mended as it told whoever deployed it. The
 * other way round there is nothing to be done: CommonJS is loaded by what Node has read.
 */
function withTypeNow(resolved: Resolved): Resolved {
  const { url, format } = resolved
  if (format !== 'commonjs' || !url.startsWith('file:')) return resolved
  return moduleTypeOf(fileURLToPath(url)) === 'module' ? { ...resolved, format: 'module' } : resolved
}

/** Node 20: called in the thread of the hooks. */
export function initialize({ port }: { port: MessagePort }): void {
  inbox = port
}

/** Node 20: called in the thread of the hooks. */
export async function resolve(
  specifier: string,
  context: ResolveContext,
  next: NextResolve<Promise<Resolved>>,
): Promise<Resolved> {
  findPathCaches(url => next(url).catch(() => {}))
  readInbox()
  const parent = parentOf(context)
  if (!parent) return await next(specifier, context)
  const key = keyOf(specifier, parent, context)
  const resolved =
    knownImport(key, parent) ?? noteImport(key, parent, await searchThere(specifier, context, parent, next))
  return handOn(resolved, parent.generation)
}

async function searchThere(
  specifier: string,
  context: ResolveContext,
  parent: Parent,
  next: NextResolve<Promise<Resolved>>,
): Promise<Resolved> {
  try {
    expectPackage(specifier, parent.file)
    return await next(specifier, context)
  } catch (error) {
    for (const [candidate, parentURL] of candidatesBelow(parent.modulePaths, specifier, error)) {
      try {
        return await next(candidate, { ...context, parentURL: parentURL ?? context.parentURL })
      } catch {}
    }
    throw error
  }
}

let inbox: MessagePort | undefined

// Read when asked, not by events: a message that was posted before an import is to be known to it.
function readInbox(): void {
  for (
    let received = inbox && receiveMessageOnPort(inbox);
    received;
    received = inbox && receiveMessageOnPort(inbox)
  ) {
    forgetPaths()
    const message = received.message as number | [string, LoadedRelease | undefined]
    if (typeof message === 'number') endGeneration(message)
    else if (message[1]) setRelease(message[0], message[1])
    else deleteRelease(message[0])
  }
}

interface Parent {
  readonly url: string
  readonly file: string
  readonly generation: string
  readonly modulePaths: readonly string[]
}

function parentOf({ parentURL }: ResolveContext): Parent | undefined {
  if (!parentURL?.startsWith('file:')) return undefined
  const file = fileURLToPath(parentURL)
  const release = releaseOf(file)
  const generation = GENERATION.exec(parentURL)?.[1] ?? release?.generation
  if (generation === undefined) return undefined
  const modulePaths = release?.modulePaths ?? []
  return { url: parentURL, file, generation: String(generation), modulePaths }
}

function knownImport(key: string, { generation }: Parent): Resolved | undefined {
  const known = imports.get(generation, key)
  return known && { ...known, shortCircuit: true }
}

function noteImport(key: string, { generation }: Parent, resolved: Resolved): Resolved {
  if (resolved.url.startsWith('file:')) imports.add(generation, key, resolved)
  return resolved
}

// The conditions of imports are the same for as long as the process runs.
function keyOf(specifier: string, { url }: Parent, { importAttributes }: ResolveContext): string {
  return JSON.stringify([url, specifier, importAttributes])
}

/**
 * Whether this is imported once in the life of the process, however often the release is loaded, and so does not grow: it
 * is of the same package as what imports it, which is an ES module that was reached by `require()`, as packages with
 * both systems have it, or is imported by such a one. What a module imports when it has run is imported anew, and so is
 * what a package imports that could not be linked.
 */
function isImportedOnce({ url }: Resolved, parent: Parent): boolean {
  const { file, generation } = parent
  const folder = url.startsWith('file:') ? packageFolderOf(file) : undefined
  if (folder === undefined || packageFolderOf(fileURLToPath(url)) !== folder) return false
  if (!isLinkedOnce(parent)) return false
  if (!importedOnce.has(url)) importedOnce.set(url, generation)
  return importedOnce.get(url) === generation
}

function isLinkedOnce({ url, file, generation }: Parent): boolean {
  if (GENERATION.test(url)) return importedOnce.get(url.replace(GENERATION, '')) === generation
  return require.cache[file]?.loaded === false && moduleTypeOf(file) === 'module'
}

function packageFolderOf(file: string): string | undefined {
  return /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(file)?.[0]
}

/** Throws Node's own error where a package is absent; Node itself would remember for ever that it is. */
function expectPackage(specifier: string, file: string): void {
  if (!isAbsentPackage(specifier, foldersAbove(dirname(file)))) return
  const name = packageName(specifier)
  if (ownName(dirname(file)) === name) return
  const error = new Error(`Cannot find package '${name}' imported from ${file}`)
  throw Object.assign(error, { code: 'ERR_MODULE_NOT_FOUND' })
}

/** By which name the modules of a folder may import their own package. */
function ownName(folder: string): string | undefined {
  const packageFile = join(folder, 'package.json')
  if (existsSync(packageFile)) return nameWithExports(packageFile)
  return dirname(folder) === folder ? undefined : ownName(dirname(folder))
}

function handOn<R extends Resolved>(resolved: R, generation: string, isOnce = false): R {
  if (!resolved.url.startsWith('file:') || generation === String(ONLY_GENERATION)) return resolved
  const url = named(resolved.url, generation)
  if (!isOnce && !withImports.has(generation)) {
    withImports.add(generation)
    inbox?.postMessage(generation)
  }
  return { ...resolved, url }
}

/** A URL that names its generation, whether it does so already or not. */
function named(url: string, generation: string): string {
  return GENERATION.test(url) || generation === String(ONLY_GENERATION)
    ? url
    : withGeneration(url, generation)
}
