import type { Server } from 'node:http'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { getHeapStatistics } from 'node:v8'
import { isMainThread } from 'node:worker_threads'
import { mountedHandler } from '../handler/mounted-handler.ts'
import { importFor, importOwn } from '../handler/package-import.ts'
import { exportsNothing, findHandler, type Handler } from '../handler.ts'
import { awaitedExports } from '../launch/awaited-exports.ts'
import { LoadScope } from '../launch/caught-listen.ts'
import { exportsInTime } from '../launch/exports-in-time.ts'
import { hookGenerations, setRelease } from '../launch/generation-hook.ts'
import { ONLY_GENERATION } from '../launch/generation-url.ts'
import { hookRequire } from '../launch/module-paths.ts'
import { answerRequests } from './answer-requests.ts'
import { becomeOwner } from './become-owner.ts'
import { followExceptions } from './follow-exceptions.ts'
import { followUpgrades, takesUpgradesNow } from './follow-upgrades.ts'
import { createFront } from './front-server.ts'
import {
  type Figures,
  importsBefore,
  type Order,
  PRELOADED,
  type Report,
  SETUP_VARIABLE,
  type Setup,
} from './messages.ts'
import { keepOwnSignals, raise } from './own-signals.ts'
import { plainError } from './plain-error.ts'
import { openRouterChannel } from './router-channel.ts'

/**
 * How long a program that exports something else, perhaps for its specs, may take to call `listen()`, in milliseconds.
 */
const LISTEN_GRACE = 10_000

// Must be read before `isMainThread` is changed for the app.
const isThread = !isMainThread

/**
 * Runs in a thread or process before the app. The app is the entry file and need not know of this. Catches `listen()`,
 * waits until the app can answer, and answers on a private socket for it.
 */
function boot(setup: Setup): void {
  hideFromChildren()
  const channel = openRouterChannel(obey, () => process.exit())
  // Must be bound while the process may still write into that folder.
  const front = bindFront(setup.socketPath)
  if (setup.owner) becomeOwner(setup.owner)
  Object.assign(process.env, setup.env)
  const scope = LoadScope.ofProcess()
  if (isThread) {
    beMainThread()
    keepOwnSignals()
  }
  syncBuiltinESMExports()
  if (setup.modulePaths.length > 0) extendModulePaths(setup)
  let handler: Handler | undefined
  let isImported = false
  let isServed = false
  let hasReported = false
  followExceptions(error => reportOnce({ type: 'failed', error: plainError(error) }))
  process.once('beforeExit', () => {
    if (hasReported) return
    // A promise of the app may wait for nothing that Node counts. The app still has the time of a load, as it has in
    // process.
    front.ref()
    findLate().catch(fail)
  })
  preloaded().then(load).catch(fail)

  async function load(): Promise<void> {
    const importing = exportsOf(setup.entry).finally(() => {
      isImported = true
    })
    const mayListen = setup.exportName === undefined
    const exports = await (mayListen ? exportsInTime(importing, scope) : importing)
    if (mayListen && exportsNothing(exports)) await scope.listening()
    if (await serve(exports, mayListen)) return
    await Promise.race([scope.listening(), delay(LISTEN_GRACE, undefined, { ref: false })])
    await serve(exports)
  }

  /**
   * Nothing is left to run that could call `listen()`. A module that listens and still has not finished can only be
   * awaiting its own end.
   */
  async function findLate(): Promise<void> {
    const goesOn = !isImported && setup.exportName === undefined && scope.server !== undefined
    await serve(goesOn ? undefined : await exportsOf(setup.entry))
  }

  /** Returns false if there is no handler yet and the app may still get one. */
  async function serve(exports: unknown, mayWait = false): Promise<boolean> {
    if (isServed) return true
    isServed = true
    const importPackage = (name: string): Promise<unknown> => importFor(pathToFileURL(setup.entry).href, name)
    const found = await findHandler(exports, setup.exportName, scope, importPackage)
    if (typeof found === 'string' && mayWait) {
      isServed = false
      return false
    }
    if (typeof found === 'string') {
      reportOnce({ type: 'no handler', detail: found })
      process.exit(1)
    }
    handler = await mountedHandler(found, setup.appFolder, undefined, [importPackage, importOwn])
    answerRequests(front, handler, () => scope.server)
    front.ref()
    reportOnce({ type: 'ready', takesUpgrades: takesUpgradesNow(handler, scope), figures: figures() })
    void followUpgrades(handler, scope, takesUpgrades => channel.report({ type: 'upgrades', takesUpgrades }))
    return true
  }

  function obey(order: Order): void {
    if (order === 'ping') channel.report({ type: 'pong', figures: figures() })
    else if (order === 'stop') void stop()
    else raise('SIGTERM')
  }

  async function stop(): Promise<void> {
    let error: unknown
    try {
      await handler?.close?.()
    } catch (thrown) {
      error = thrown ?? new Error('close() of the app failed')
    }
    // A program that closes its server expects to end when nothing is left to run; the private server would keep it
    // running.
    if (process.listenerCount('SIGTERM') > 0) process.once('SIGTERM', () => front.close())
    channel.report({ type: 'stopped', error: error === undefined ? undefined : plainError(error) })
  }

  /** Also ends an app that listens to `unhandledRejection` and would go on. */
  function fail(error: unknown): void {
    reportOnce({ type: 'failed', error: plainError(error) })
    process.exit(1)
  }

  function reportOnce(report: Report): void {
    if (hasReported) return
    hasReported = true
    channel.report(report)
  }
}

/** Resolves when Node has begun to run the app itself. */
async function preloaded(): Promise<void> {
  if (importsBefore(process.env.NODE_OPTIONS)) {
    await new Promise<void>(resolve => {
      Object.defineProperty(globalThis, PRELOADED, { value: resolve, configurable: true })
    })
    Reflect.deleteProperty(globalThis, PRELOADED)
  }
  // The app runs next, before what follows.
  await nextTurn()
}

function bindFront(socketPath: string): Server {
  const front = createFront()
  // Requests that come while the app is busy must find room; the system sets the actual limit.
  front.listen({ path: socketPath, backlog: 65_535 })
  front.unref()
  return front
}

/** Of CommonJS, what its module exports now; of an ES module, once all of it has run. */
async function exportsOf(entry: string): Promise<unknown> {
  const { main } = createRequire(entry)
  if (main?.filename === entry && !exportsNothing(main.exports)) return await awaitedExports(main.exports)
  return await import(pathToFileURL(entry).href)
}

/** Otherwise what the app forks or starts in a thread would inherit these flags. */
function hideFromChildren(): void {
  process.execArgv.splice(process.execArgv.indexOf('--require'))
}

/** A program that starts threads from its own file must take its branch for the main thread, as under plain `node`. */
function beMainThread(): void {
  Object.assign(createRequire(import.meta.url)('node:worker_threads'), {
    isMainThread: true,
    parentPort: null,
  })
}

function extendModulePaths({ realPath, modulePaths }: Setup): void {
  hookRequire(
    () => modulePaths,
    () => {},
  )
  hookGenerations()
  setRelease(realPath, { generation: ONLY_GENERATION, modulePaths })
}

function figures(): Figures {
  if (!isThread) {
    const { user, system } = process.cpuUsage()
    return { memory: residentMemory(), cpu: (user + system) / 1000 }
  }
  const { threadCpuUsage } = process as { threadCpuUsage?(): { user: number; system: number } }
  const cpu = threadCpuUsage?.call(process)
  // `process.memoryUsage()` has the same figure, but opens a file to read its others.
  const memory = getHeapStatistics().used_heap_size
  return { memory, cpu: cpu ? (cpu.user + cpu.system) / 1000 : null }
}

/** Null if no file descriptor is left for reading it. */
function residentMemory(): number | null {
  try {
    return process.memoryUsage.rss()
  } catch {
    return null
  }
}

const setup = process.env[SETUP_VARIABLE]
delete process.env[SETUP_VARIABLE]
if (setup !== undefined) boot(JSON.parse(setup) as Setup)
