import { join } from 'node:path'
import { VhostError } from '../errors.ts'
import { debug } from '../events.ts'
import { mountedHandler } from '../handler/mounted-handler.ts'
import { importOwn } from '../handler/package-import.ts'
import { exportsNothing, findHandler, type Handler } from '../handler.ts'
import { checkGiven } from '../options/option-functions.ts'
import type { Settings } from '../options.ts'
import { within } from '../promises/within.ts'
import type { Release } from '../release.ts'
import type { VhostSettings } from '../vhost-settings.ts'
import { LoadScope } from './caught-listen.ts'
import { type EntryModule, expectTypesTaken, findEntryModule, hasChanged } from './entry-module.ts'
import { EnvironmentWrites } from './environment-writes.ts'
import { exportsInTime } from './exports-in-time.ts'
import { FreshImport } from './fresh-import.ts'
import type { FindInfo, Launched } from './launch.ts'
import { linkedRun } from './linked-modules.ts'
import { ParkedApps } from './parked-apps.ts'
import { probe } from './probe.ts'
import { type Loaded, RunningApp } from './running-app.ts'
import { tolerateSecondRejection } from './second-rejection.ts'

/**
 * How long an app that exports nothing may take to call `listen()` after its module ran, in milliseconds. Time in which
 * other apps hold up the process does not count.
 */
const LISTEN_GRACE = 2000
/** How often the module is checked meanwhile, in milliseconds: a deploy may only have begun to write it. */
const GRACE_LOOK = 50

/** Loads apps into this process. */
export class InProcess {
  readonly #settings: Settings
  readonly #parked = new ParkedApps(modules => this.#forget(modules))
  #staleGraphs = 0
  readonly #counted = new WeakSet<FreshImport>()
  readonly #left = (loaded: Loaded, isParked: boolean): void => {
    if (isParked) this.#parked.park(loaded)
    else this.#forget(loaded.modules)
  }
  /** Each ends the wait for a load that is under way. */
  readonly #giveUps = new Set<() => void>()

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** ES module graphs that Node keeps and nobody uses any more. */
  get staleGraphs(): number {
    return this.#staleGraphs
  }

  /** `findInfo` returns what requests to the release will find in `req.vhost`. Rejects with a `VhostError`. */
  async launch(
    release: Release,
    lastEntry: string | undefined,
    own: VhostSettings,
    findInfo: FindInfo,
  ): Promise<Launched> {
    const loaded = this.#parked.take(release) ?? (await this.#loadInTime(release, lastEntry, own, findInfo))
    this.#parked.lookAfter()
    return this.#launched(loaded)
  }

  /** Stops waiting for loads. An app that arrives later is disposed, and kept modules are let go. */
  close(): void {
    for (const giveUp of this.#giveUps) giveUp()
    this.#parked.discardAll()
  }

  /** Makes the next load of a real path a new one, even if its modules were kept to be used again. */
  discard(realPath: string): void {
    this.#parked.discard(realPath)
  }

  async #loadInTime(
    release: Release,
    lastEntry: string | undefined,
    own: VhostSettings,
    findInfo: FindInfo,
  ): Promise<Loaded> {
    const { loadTimeout } = this.#settings
    const modules = new FreshImport(release.realPath)
    let giveUp = (): void => {}
    const tooLong = new Promise<'late'>(resolve => {
      giveUp = () => resolve('late')
    })
    const loading = this.#load(release, lastEntry, modules, own, findInfo, tooLong)
    // The timer keeps the process alive: whoever awaits a load must be told.
    const timer = setTimeout(giveUp, loadTimeout)
    this.#giveUps.add(giveUp)
    const first = await Promise.race([loading, tooLong]).finally(() => {
      clearTimeout(timer)
      this.#giveUps.delete(giveUp)
    })
    if (first !== 'late') {
      modules.keep()
      return first
    }
    modules.undo()
    this.#countGraph(modules)
    loading
      .then(late => this.#launched(late).dispose('closed'))
      .catch(error => debug('an app that loaded too late: %o', error))
      .finally(() => modules.undo())
    throw new VhostError('ERR_VHOST_LOAD_TIMEOUT', { detail: `more than ${loadTimeout} ms` })
  }

  async #load(
    release: Release,
    lastEntry: string | undefined,
    modules: FreshImport,
    own: VhostSettings,
    findInfo: FindInfo,
    tooLong: Promise<unknown>,
  ): Promise<Loaded> {
    const { realPath } = release
    const { appDir, getModulePaths, trusts } = this.#settings
    const scope = new LoadScope()
    let environment: EnvironmentWrites | undefined
    let handler: Handler | undefined
    try {
      const exportName = own.exportName ?? this.#settings.exportName
      const moduleName = own.moduleName ?? this.#settings.moduleName
      const entry = await findEntryModule(realPath, appDir, moduleName, lastEntry)
      expectTypesTaken(entry.path)
      await linkedRun(realPath)
      const writes = new EnvironmentWrites()
      environment = writes
      // The load may never end.
      void tooLong.then(() => {
        writes.end()
        scope.listeners.remove()
      })
      const modulePaths = getModulePaths ? checkGiven('getModulePaths', getModulePaths(realPath)) : []
      const loading = scope.run(() => modules.load(entry.path, modulePaths))
      environment.claim()
      const exports = await (exportName === undefined ? exportsInTime(loading, scope) : loading)
      loading.catch(error => {
        tolerateSecondRejection(error)
        debug('an app that listened before its load failed: %o', error)
      })
      if (modules.stale.length > 0)
        debug('ES modules reached by require() stay as they were: %o', modules.stale)
      const found = await scope.run(() => this.#handlerOf(exports, exportName, entry, scope, modules))
      // Not the vhost's own Express: Node would keep one for each release.
      handler = await mountedHandler(found, join(realPath, appDir), trusts, [importOwn])
      await scope.toldListening()
      environment.end()
      if (own.probe) await probe(handler.handle, await findInfo(), own.probe)
      return { release, findInfo, modules, scope, handler, environmentWrites: environment.names }
    } catch (error) {
      environment?.end()
      tolerateSecondRejection(error)
      if (handler) void letGo(handler)
      modules.undo()
      this.#countGraph(modules)
      scope.end()
      throw error instanceof VhostError ? error : new VhostError('ERR_VHOST_LOAD', { cause: error })
    }
  }

  async #handlerOf(
    exports: unknown,
    exportName: string | undefined,
    entry: EntryModule,
    scope: LoadScope,
    modules: FreshImport,
  ): Promise<Handler> {
    if (exportName === undefined && exportsNothing(exports)) await listening(scope, entry)
    const importPackage = (name: string): Promise<unknown> => modules.importPackage(name)
    const handler = await findHandler(exports, exportName, scope, importPackage)
    if (typeof handler === 'string') throw new VhostError('ERR_VHOST_NO_HANDLER', { detail: handler })
    return handler
  }

  #launched(loaded: Loaded): Launched {
    return new RunningApp(loaded, this.#left)
  }

  #forget(modules: FreshImport): void {
    this.#countGraph(modules)
    modules.forget()
  }

  #countGraph(modules: FreshImport): void {
    if (!modules.isKeptByNode || this.#counted.has(modules)) return
    this.#counted.add(modules)
    this.#staleGraphs++
  }
}

/** Closes an app that was loaded but does not answer its probe, and with it what it opened. */
async function letGo(handler: Handler): Promise<void> {
  try {
    await handler.close?.()
  } catch (error) {
    debug('close() of an app that does not answer its probe: %o', error)
  }
}

async function listening(scope: LoadScope, entry: EntryModule): Promise<void> {
  let hasListened = false
  const listens = scope.listening().then(() => {
    hasListened = true
  })
  for (let waited = 0; !hasListened && waited < LISTEN_GRACE; waited += GRACE_LOOK) {
    await within(GRACE_LOOK, listens, () => {})
    if (!hasListened && (await hasChanged(entry))) {
      throw new VhostError('ERR_VHOST_LOAD', { detail: 'its entry module changed while it was loaded' })
    }
  }
}
