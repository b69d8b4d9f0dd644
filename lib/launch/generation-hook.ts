import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { expectPackage } from './expect-package.ts'
import { generationIn, named, ONLY_GENERATION, withoutGeneration } from './generation-url.ts'
import { registerImportHooks } from './import-hooks.ts'
import { isImportedOnce } from './imported-once.ts'
import { KnownImports } from './known-imports.ts'
import { addRelease, type LoadedRelease, releaseOf, removeRelease } from './loaded-releases.ts'
import { hasHooksHere, internals } from './module-internals.ts'
import { candidatesBelow } from './module-paths.ts'
import { moduleTypeOf } from './module-type.ts'
import { ownFile } from './own-file.ts'
import { findPathCaches, forgetPaths } from './path-caches.ts'

/** To the hooks thread: a generation that has ended, or the release that is loaded at a real path from now on. */
type Message = number | [realPath: string, release?: LoadedRelease]

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

/** Generations that imported something which another generation would import anew. */
const withImports = new Set<string>()
const imports = new KnownImports<Resolved>()
let isHooked = false
let hookThread: MessagePort | undefined

/** Installs the hook, once for the process. */
export function hookGenerations(): void {
  if (isHooked) return
  if (hasHooksHere) {
    registerImportHooks({ resolve: resolveHere })
    isHooked = true
    return
  }
  // Node 20 runs hooks in a separate thread, where a bundle would begin the whole program anew.
  const { href } = ownFile('./generation-hook.js', import.meta.url)
  const { port1, port2 } = new MessageChannel()
  internals.register(href, { data: { port: port2 }, transferList: [port2] })
  isHooked = true
  port1.unref()
  hookThread = port1
}

export function setRelease(realPath: string, release: LoadedRelease): void {
  addRelease(realPath, release)
  imports.begin(String(release.generation))
  hookThread?.postMessage([realPath, release])
}

export function deleteRelease(realPath: string): void {
  removeRelease(realPath)
  hookThread?.postMessage([realPath])
}

/** Forgets what was imported by a generation that has failed or whose app has ended. */
export function endGeneration(generation: number): void {
  imports.end(String(generation))
  hookThread?.postMessage(generation)
}

/** Whether a generation has imported something: Node keeps that, and would keep a copy for the next generation. */
export function hasImports(generation: number): boolean {
  for (const message of received(hookThread)) withImports.add(String(message))
  return withImports.has(String(generation))
}

function resolveHere(specifier: string, context: ResolveContext, next: NextResolve<Resolved>): Resolved {
  // A module that is required needs no generation: it is removed from require.cache instead.
  if (!context.conditions?.includes('import')) return next(specifier, context)
  const parent = parentOf(context)
  if (!parent) {
    const resolved = next(specifier, context)
    const generation = generationIn(specifier)
    return generation === undefined ? resolved : handOn(withTypeNow(resolved), generation)
  }
  if (parent.isForeign) return handOn(next(specifier, context), parent.generation)
  const key = keyOf(specifier, parent, context)
  const resolved =
    knownImport(key, parent) ??
    noteImport(key, parent, withTypeNow(searchNamed(specifier, context, parent, next)))
  if (!isImportedOnce(withoutGeneration(resolved.url), parent)) noteGrowth(resolved, parent.generation)
  return handOn(resolved, parent.generation)
}

function searchNamed(
  specifier: string,
  context: ResolveContext,
  parent: Parent,
  next: NextResolve<Resolved>,
): Resolved {
  const resolved = search(specifier, context, parent, next)
  const url = urlToAskAgain(resolved, parent)
  return url === undefined ? resolved : next(url, context)
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
 * Node reads each package.json once, so it would still refuse an app whose `type` was mended as Node's own error
 * advised. The reverse cannot be helped: Node loads CommonJS by what it has read.
 */
function withTypeNow(resolved: Resolved): Resolved {
  const { url, format } = resolved
  if (format !== 'commonjs' || !url.startsWith('file:')) return resolved
  return moduleTypeOf(fileURLToPath(url)) === 'module' ? { ...resolved, format: 'module' } : resolved
}

/** Node 20: called in the thread of the hooks. */
export function initialize({ port }: { port: MessagePort }): void {
  inboxes.push(port)
}

/** Node 20: called in the thread of the hooks. */
export async function resolve(
  specifier: string,
  context: ResolveContext,
  next: NextResolve<Promise<Resolved>>,
): Promise<Resolved> {
  findPathCaches(url => next(url).catch(() => {}))
  readInboxes()
  const parent = parentOf(context)
  if (!parent) return handOn(await next(specifier, context), generationIn(specifier))
  const key = keyOf(specifier, parent, context)
  const resolved =
    knownImport(key, parent) ??
    noteImport(key, parent, await searchNamedThere(specifier, context, parent, next))
  noteGrowth(resolved, parent.generation)
  return handOn(resolved, parent.generation)
}

async function searchNamedThere(
  specifier: string,
  context: ResolveContext,
  parent: Parent,
  next: NextResolve<Promise<Resolved>>,
): Promise<Resolved> {
  const resolved = await searchThere(specifier, context, parent, next)
  const url = urlToAskAgain(resolved, parent)
  return url === undefined ? resolved : await next(url, context)
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

/** One for each copy of this library in the process: an app that has its own router brings another copy. */
const inboxes: MessagePort[] = []

function readInboxes(): void {
  for (const message of inboxes.flatMap(inbox => [...received(inbox)]) as Message[]) {
    forgetPaths()
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
  /** Whether another copy of this library loaded the release: its own hook knows where to look. */
  readonly isForeign: boolean
}

function parentOf({ parentURL }: ResolveContext): Parent | undefined {
  if (!parentURL?.startsWith('file:')) return undefined
  const file = fileURLToPath(parentURL)
  const release = releaseOf(file)
  const found = generationIn(parentURL) ?? release?.generation
  if (found === undefined) return undefined
  const generation = String(found)
  const isForeign = !release && !imports.has(generation)
  return { url: parentURL, file, generation, modulePaths: release?.modulePaths ?? [], isForeign }
}

function knownImport(key: string, { generation }: Parent): Resolved | undefined {
  const known = imports.get(generation, key)
  return known && { ...known, shortCircuit: true }
}

function noteImport(key: string, { generation }: Parent, resolved: Resolved): Resolved {
  if (resolved.url.startsWith('file:')) imports.add(generation, key, resolved)
  return resolved
}

// The conditions of imports never change while the process runs.
function keyOf(specifier: string, { url }: Parent, { importAttributes }: ResolveContext): string {
  return JSON.stringify([url, specifier, importAttributes])
}

/** Notes that a generation has imported something which another would import anew. */
function noteGrowth({ url }: Resolved, generation: string): void {
  if (!url.startsWith('file:') || generation === String(ONLY_GENERATION) || withImports.has(generation))
    return
  withImports.add(generation)
  for (const inbox of inboxes) inbox.postMessage(generation)
}

/**
 * Another hook may add a query to a URL, as import-in-the-middle does to put a module of its own in front of one. It
 * remembers what it found by the URL that it saw, so it must see the URL by which it will be asked to load. Returns
 * that URL, with its generation; undefined if there is no need to ask again.
 */
function urlToAskAgain({ url }: Resolved, { generation }: Parent): string | undefined {
  if (!url.startsWith('file:') || !url.includes('?')) return undefined
  const asked = named(url, generation)
  return asked === url ? undefined : asked
}

/** Applies to the entry of a release, too: another hook may have resolved it to its plain URL. */
function handOn(resolved: Resolved, generation: string | undefined): Resolved {
  return generation !== undefined && resolved.url.startsWith('file:')
    ? { ...resolved, url: named(resolved.url, generation) }
    : resolved
}

/** The messages that have come to a port so far, read on demand: an import knows of each that was posted before it. */
function* received(port: MessagePort | undefined): Generator<unknown> {
  for (let next = port && receiveMessageOnPort(port); next; next = port && receiveMessageOnPort(port)) {
    yield next.message
  }
}
