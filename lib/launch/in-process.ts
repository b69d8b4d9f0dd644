import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { VhostError } from '../errors.ts'
import { debug, type EvictReason } from '../events.ts'
import { adaptExpressApp, adaptListeners } from '../express-app.ts'
import { adaptExpressRouter, importExpress } from '../express-router.ts'
import { isGone } from '../gone.ts'
import { exportsNothing, findHandler, type Handler, upgradeOf } from '../handler.ts'
import { checkGiven, type Settings } from '../options.ts'
import { importOwn } from '../package-import.ts'
import type { Release } from '../release.ts'
import type { VhostSettings } from '../vhost-settings.ts'
import { within } from '../within.ts'
import { LoadScope } from './caught-listen.ts'
import { type EntryModule, findEntryModule, hasChanged } from './entry-module.ts'
import { EnvironmentWrites } from './environment-writes.ts'
import { exportsInTime } from './exports-in-time.ts'
import { FreshImport } from './fresh-import.ts'
import { CLOSE_TIMEOUT, type Launched, type Tell } from './launch.ts'
import { probe } from './probe.ts'
import { tolerateSecondRejection } from './second-rejection.ts'

/** How long an app that exports nothing may take to call `listen()` after its module ran. */
const LISTEN_GRACE = 2000
/** How often the module is looked at meanwhile: a deploy may have only begun to write it. */
const GRACE_LOOK = 50
/** How many parked apps are looked after at each launch, by which no more than one comes to be parked. */
const PARKED_LOOKS = 2

interface Loaded {
  readonly release: Release
  readonly tell: Tell
  readonly modules: FreshImport
  readonly scope: LoadScope
  readonly handler: Handler
  readonly environmentWrites: readonly string[]
}

/** Loads apps into this process. */
export class InProcess {
  readonly #settings: Settings
  /**
   * Apps that were evicted although nothing had changed, and whose modules Node keeps: asked for again, they are
   * used again, so that strangers who cycle names cannot grow memory. Those go that nobody can ask for any more.
   */
  readonly #parked = new Map<string, Loaded>()
  #staleGraphs = 0
  readonly #counted = new WeakSet<FreshImport>()
  /** Is told of each app that has ended, and whether it may be used again. */
  readonly #left = (loaded: Loaded, isParked: boolean): void => {
    if (isParked) this.#parked.set(loaded.release.realPath, loaded)
    else this.#forget(loaded.modules)
  }
  /** Ends the wait for each load that is under way. */
  readonly #giveUps = new Set<() => void>()

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** ES module graphs that Node keeps and nobody uses any more. */
  get staleGraphs(): number {
    return this.#staleGraphs
  }

  /** `tell` gives what requests to the release will find in `req.vhost`. Rejects with a `VhostError`. */
  async launch(release: Release, own: VhostSettings, tell: Tell): Promise<Launched> {
    const loaded = this.#unpark(release) ?? (await this.#loadInTime(release, own, tell))
    this.#lookAfterParked()
    return this.#launched(loaded)
  }

  /** Waits for no load any more; what arrives is disposed. */
  close(): void {
    for (const giveUp of this.#giveUps) giveUp()
  }

  /** Has the next load of a real path be a new one, where its modules were kept to be used again. */
  discard(realPath: string): void {
    const parked = this.#parked.get(realPath)
    if (!parked) return
    this.#parked.delete(realPath)
    this.#forget(parked.modules)
  }

  #unpark(release: Release): Loaded | undefined {
    const parked = this.#parked.get(release.realPath)
    if (!parked) return undefined
    this.#parked.delete(release.realPath)
    if (Object.is(parked.release.version, release.version)) {
      parked.scope.addListeners()
      return parked
    }
    this.#forget(parked.modules)
    return undefined
  }

  /** By turns. */
  #lookAfterParked(): void {
    for (const parked of [...this.#parked.values()].slice(0, PARKED_LOOKS)) {
      const { realPath } = parked.release
      this.#parked.delete(realPath)
      this.#parked.set(realPath, parked)
      void isLeft(parked).then(isLeft => {
        if (isLeft && this.#parked.get(realPath) === parked) this.discard(realPath)
      })
    }
  }

  async #loadInTime(release: Release, own: VhostSettings, tell: Tell): Promise<Loaded> {
    const { loadTimeout } = this.#settings
    const modules = new FreshImport(release.realPath)
    let giveUp = (): void => {}
    const tooLong = new Promise<'late'>(resolve => {
      giveUp = () => resolve('late')
    })
    const loading = this.#load(release, modules, own, tell, tooLong)
    // It holds the process: who awaits a load is to be told.
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
    modules: FreshImport,
    own: VhostSettings,
    tell: Tell,
    tooLong: Promise<unknown>,
  ): Promise<Loaded> {
    const { realPath } = release
    const { appDir, getModulePaths, trusts } = this.#settings
    const scope = new LoadScope()
    let environment: EnvironmentWrites | undefined
    let handler: Handler | undefined
    try {
      const exportName = own.exportName ?? this.#settings.exportName
      const entry = await findEntryModule(realPath, appDir, own.moduleName ?? this.#settings.moduleName)
      const writes = new EnvironmentWrites()
      environment = writes
      // It may never end.
      void tooLong.then(() => {
        writes.end()
        scope.removeListeners()
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
      const appFolder = join(realPath, appDir)
      // Not the vhost's own Express: Node would keep one for each release.
      const handle = await adaptExpressRouter(found.handle, appFolder, trusts, () => importExpress(importOwn))
      handler = { ...found, ...adaptExpressApp(handle, appFolder, trusts) }
      if (found.server) adaptListeners(found.server, appFolder, trusts)
      environment.end()
      if (own.probe) await probe(handler.handle, await tell(), own.probe)
      return { release, tell, modules, scope, handler, environmentWrites: environment.names }
    } catch (error) {
      environment?.end()
      tolerateSecondRejection(error)
      if (handler) void letGo(handler)
      modules.undo()
      this.#countGraph(modules)
      scope.removeListeners()
      scope.closeServers()
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
    return new Running(loaded, this.#left)
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

/** A class, because there are thousands: an object with a getter and closures of its own takes four times as much. */
class Running implements Launched {
  readonly handle: Launched['handle']
  readonly #loaded: Loaded
  readonly #left: (loaded: Loaded, isParked: boolean) => void

  constructor(loaded: Loaded, left: (loaded: Loaded, isParked: boolean) => void) {
    this.handle = loaded.handler.handle
    this.#loaded = loaded
    this.#left = left
  }

  get isolation(): 'none' {
    return 'none'
  }

  get mounted(): Launched['mounted'] {
    return this.#loaded.handler.mounted
  }

  get upgrade(): Launched['upgrade'] {
    return upgradeOf(this.#loaded.handler, this.#loaded.scope.server)
  }

  get environmentWrites(): readonly string[] {
    return this.#loaded.environmentWrites
  }

  get isKeptByNode(): boolean {
    const { modules, handler } = this.#loaded
    return modules.isKeptByNode && handler.close !== undefined
  }

  async dispose(reason: EvictReason): Promise<void> {
    const { modules, handler, scope } = this.#loaded
    const isUnchanged = reason === 'lru' || reason === 'idle'
    const isParked = isUnchanged && modules.isKeptByNode && !handler.close
    const leave = (): void => {
      scope.removeListeners()
      if (!isParked) scope.closeServers()
      this.#left(this.#loaded, isParked)
    }
    // Once more when its close() has ended after all.
    const timer = setTimeout(leave, CLOSE_TIMEOUT).unref()
    try {
      await handler.close?.()
    } finally {
      clearTimeout(timer)
      leave()
    }
  }
}

/** Whether the name that it was loaded for leads elsewhere, or nowhere. */
async function isLeft({ release, tell }: Loaded): Promise<boolean> {
  try {
    const { path } = await tell()
    return (await realpath(path)) !== release.realPath
  } catch (error) {
    return isGone(error)
  }
}

/** Of an app that was loaded and does not answer its probe: what it opened is to be closed. */
async function letGo(handler: Handler): Promise<void> {
  try {
    await handler.close?.()
  } catch (error) {
    debug('close() of an app that does not answer its probe: %o', error)
  }
}

async function listening(scope: LoadScope, entry: EntryModule): Promise<void> {
  const end = performance.now() + LISTEN_GRACE
  let hasListened = false
  const listens = scope.listening().then(() => {
    hasListened = true
  })
  while (!hasListened && performance.now() < end) {
    await within(GRACE_LOOK, listens, () => {})
    if (!hasListened && (await hasChanged(entry))) {
      throw new VhostError('ERR_VHOST_LOAD', { detail: 'its entry module changed while it was loaded' })
    }
  }
}
