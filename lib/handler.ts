import { type FetchApp, fetchHandler } from './handler/fetch-handler.ts'
import { frameworkAnswer } from './handler/framework-app.ts'
import { type ImportPackage, importOwn } from './handler/package-import.ts'
import { possibleFactory } from './handler/possible-factory.ts'
import { isWebServer, type LoadScope, type WebServer } from './launch/caught-listen.ts'
import type { Handle, Mounted, Upgrade } from './launch/launch.ts'
import { isPromise } from './promises/rejection.ts'
import { attempt } from './values/thrown.ts'

/** What answers a vhost's requests, and what goes with it. */
export interface Handler {
  readonly handle: Handle
  /** As in `Launched`. */
  readonly mounted?: Mounted
  /** The module's own hook; if it has none, `upgradeOf` tells what takes upgrades. */
  readonly upgrade: Upgrade | undefined
  /** The server whose listeners answer, if that is the handler. */
  readonly server?: WebServer
  /** Closes what the app has opened; undefined if there is nothing to call. */
  readonly close: (() => unknown) | undefined
}

const ACCEPTED =
  'a function (req, res, next) such as an Express app or router, an http.Server, an app of Koa, Fastify or NestJS, an object with fetch(request) such as an app of Hono or h3, or a promise of one; or call listen()'

/**
 * Finds the handler in what a module exports or, if it exports none, the server of its `scope`, on which it called
 * `listen()`. Returns words for an error if there is neither.
 */
export async function findHandler(
  exports: unknown,
  exportName: string | undefined,
  { server, hasHttp2 }: Pick<LoadScope, 'server' | 'hasHttp2'>,
  importPackage: ImportPackage = importOwn,
): Promise<Handler | string> {
  const toHandler = async (value: unknown, name: string): Promise<Handler | undefined> => {
    const answer = await answerOf(value, name, importPackage)
    return answer && handlerOf(answer, value, exports)
  }
  if (exportName !== undefined) {
    const found = exportOf(exports, exportName)
    const named = await (exportName.endsWith('()') && typeof found === 'function' ? found() : found)
    const others = found === undefined ? `, the module exports ${describe(exports)}` : ''
    const handler = await toHandler(named, exportName)
    return handler ?? `export '${exportName}' is ${describe(named)}${others}; expected ${ACCEPTED}`
  }
  for (const [candidate, name] of candidates(exports)) {
    const handler = await toHandler(await candidate, name)
    if (handler) return handler
  }
  if (server) return serverHandler(server, hookOf(exports, 'upgrade'), hookOf(exports, 'close'))
  const listens = hasHttp2
    ? ' and listens with a server for HTTP/2, which the router does not speak to apps'
    : ''
  const exported = await exports
  return `the module exports ${describe(exported)}${toBeNamed(exported)}${listens}; expected ${ACCEPTED}`
}

/**
 * What takes upgrades now: the module's own hook, or the listeners of the server that answers, or of `listening`, on
 * which an app that exports its handler listens as well. WebSocket libraries attach to a server, perhaps late.
 */
export function upgradeOf(
  { upgrade, server }: Pick<Handler, 'upgrade' | 'server'>,
  listening: WebServer | undefined,
): Upgrade | undefined {
  const listened = server ?? listening
  if (upgrade || !listened || listened.listenerCount('upgrade') === 0) return upgrade
  return (req, socket, head) => listened.emit('upgrade', req, socket, head)
}

/** Whether a module exports nothing, or hooks alone: it may be about to call `listen()`. */
export function exportsNothing(exports: unknown): boolean {
  if (exports === undefined || exports === null) return true
  if (!isBag(exports) || isPromise(exports)) return false
  return meaningfulKeys(exports).every(key => {
    const value = member(exports, key)
    return key === 'default' ? exportsNothing(value) : isHook(key) && typeof value === 'function'
  })
}

function isHook(name: string): boolean {
  return name === 'close' || name === 'upgrade'
}

function exportOf(exports: unknown, exportName: string): unknown {
  const name = exportName.replace(/\(\)$/, '')
  return method(exports, name) ?? method(member(exports, 'default'), name) ?? bareExport(exports, name)
}

/** `module.exports` is the default export of a CommonJS module that has no other. */
function bareExport(exports: unknown, name: string): unknown {
  return name === 'default' && typeof exports === 'function' ? exports : undefined
}

/** In order of preference. CommonJS imported by an ES module, or compiled from one, hides behind `default`. */
function* candidates(exports: unknown): Generator<[value: unknown, name: string]> {
  const inner = member(exports, 'default')
  yield [inner, 'default']
  yield [member(inner, 'default'), 'default']
  yield [exports, 'default']
  for (const name of ['app', 'handler']) {
    yield [method(exports, name), name]
    yield [method(inner, name), name]
  }
}

/** What answers requests for an exported value: the first of these kinds that it is. */
async function answerOf(
  value: unknown,
  name: string,
  importPackage: ImportPackage,
): Promise<Handle | WebServer | undefined> {
  if (typeof value === 'function') {
    if (isClass(value)) return undefined
    const isHandler = value.length >= 2 || Object.keys(value).length > 0
    return isHandler ? (value as Handle) : possibleFactory(value as Handle, name)
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (isWebServer(value)) return value
  const answer = await frameworkAnswer(value)
  return answer ?? (isFetchApp(value) ? await fetchHandler(value, importPackage) : undefined)
}

/** A module may export a `fetch` that is not its handler: exports that are named for a handler go first. */
function isFetchApp(value: object): value is FetchApp {
  if (typeof member(value, 'fetch') !== 'function') return false
  return !isBag(value) || !('app' in value || 'handler' in value)
}

function handlerOf(answer: Handle | WebServer, value: unknown, exports: unknown): Handler {
  const upgrade = hookOf(exports, 'upgrade')
  if (value === answer && isWebServer(answer)) return serverHandler(answer, upgrade, hookOf(exports, 'close'))
  const close = hookOf(exports, 'close', value) ?? closeOf(value)
  if (isWebServer(answer)) return serverHandler(answer, upgrade, close)
  return { handle: answer, close, upgrade }
}

function serverHandler(server: WebServer, upgrade: Upgrade | undefined, close: Handler['close']): Handler {
  return {
    server,
    handle: (req, res, next) => {
      if (!server.emit('request', req, res)) next()
    },
    upgrade,
    close: close ?? (server.listenerCount('close') > 0 ? () => closeServer(server) : undefined),
  }
}

/** Lets go of what Node attached to a server that was never bound, and tells its 'close' listeners. */
function closeServer(server: WebServer): void {
  server.close(() => {})
}

interface Hooks {
  close: () => unknown
  upgrade: Upgrade
}

/**
 * A hook exported beside the handler. The methods of an exported server are its own, and those of `handler` are looked
 * up later.
 */
function hookOf<N extends keyof Hooks>(exports: unknown, name: N, handler?: unknown): Hooks[N] | undefined {
  for (const owner of [exports, member(exports, 'default')]) {
    const hook = isWebServer(owner) || owner === handler ? undefined : member(owner, name)
    if (typeof hook === 'function') return hook.bind(owner)
  }
  return undefined
}

function closeOf(handler: unknown): (() => unknown) | undefined {
  for (const name of [Symbol.asyncDispose, 'close']) {
    const hook = member(handler, name)
    if (typeof hook === 'function') return () => hook.call(handler)
  }
  return undefined
}

type Anything = Record<string | symbol, ((...values: unknown[]) => unknown) | undefined>

function member(value: unknown, name: string | symbol): Anything[string] {
  const hasMembers = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return hasMembers ? (value as Anything)[name] : undefined
}

/** A member as `member()`, where a method of a class keeps its `this`. An app has properties, and stays as it is. */
function method(owner: unknown, name: string): Anything[string] {
  const value = member(owner, name)
  if (isInherent(value, name)) return undefined
  if (typeof value !== 'function' || typeof owner !== 'object' || isBag(owner)) return value
  return isClass(value) || Object.keys(value).length > 0 ? value : value.bind(owner)
}

/** Whether a member is what every object or function has: nobody has exported it. */
function isInherent(value: unknown, name: string): boolean {
  return [Object.prototype, Function.prototype].some(prototype => value === member(prototype, name))
}

/** Whether a value is an object without a class: a module's exports, or a literal. */
function isBag(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function isClass(value: object): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value))
}

function meaningfulKeys(exports: object): string[] {
  const keys = Object.keys(exports).filter(key => key !== '__esModule' && key !== 'module.exports')
  const inner = (exports as { default?: unknown }).default
  const isEmptyDefault = keys.length === 1 && keys[0] === 'default' && exportsNothing(inner)
  return isEmptyDefault ? [] : keys
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'function')
    return isClass(value) ? `the class ${JSON.stringify(value.name)}` : 'a function'
  if (typeof value !== 'object') return `a ${typeof value}`
  const keys = meaningfulKeys(value)
  if (keys.length === 0) return isBag(value) ? 'nothing' : instance(value)
  const names = keys.slice(0, 5).map(key => JSON.stringify(key.slice(0, 40)))
  const described =
    keys.length === 1 && keys[0] === 'default' ? describe(member(value, 'default')) : undefined
  return described ?? `an object with ${names.join(', ')}${keys.length > names.length ? ' …' : ''}`
}

/** How to name the first function among the exports, which may be the handler or may return it. */
function toBeNamed(exports: unknown): string {
  if (!isBag(exports)) return ''
  const keys = meaningfulKeys(exports)
  if (keys.length === 1 && keys[0] === 'default') return toBeNamed(member(exports, 'default'))
  const name = keys.find(
    key =>
      /^\w{1,40}$/.test(key) && !isHook(key) && typeof attempt(() => member(exports, key)) === 'function',
  )
  return name === undefined
    ? ''
    : `; exportName names one of them, such as '${name}', or '${name}()' to call it`
}

/** Described by its class, because its methods are there and are no keys of its own. */
function instance(value: object): string {
  const name = attempt(() => value.constructor.name)
  return typeof name === 'string' && name !== ''
    ? `an object of the class ${JSON.stringify(name.slice(0, 40))}`
    : 'an object'
}
