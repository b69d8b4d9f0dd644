import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Setup } from '../entry/messages.ts'
import { VhostError } from '../errors.ts'
import { debug } from '../events.ts'
import { checkGiven } from '../options/option-functions.ts'
import type { Environment, Settings } from '../options.ts'
import { within } from '../promises/within.ts'
import type { Release } from '../release.ts'
import { readVhostSettings, type VhostSettings } from '../vhost-settings.ts'
import { type EntryModule, expectTypesTaken, findEntryModule } from './entry-module.ts'
import type { FindInfo, Launched } from './launch.ts'
import { MemoryCgroups } from './memory-cgroup.ts'
import { readLines } from './output-lines.ts'
import { type Owner, ownerOf } from './owner.ts'
import { probe } from './probe.ts'
import { startProcess } from './process-runner.ts'
import { Reaper } from './reaper.ts'
import type { RunnerSettings } from './runner.ts'
import { SocketFolder } from './socket-folder.ts'
import { tellPlace } from './syntax-error-place.ts'
import { startThread } from './thread-runner.ts'
import type { Redo } from './untouched.ts'
import { Upstream } from './upstream.ts'

/** Takes a line that an app wrote. */
export type WriteLine = (release: Release, stream: 'stdout' | 'stderr', line: string) => void

/** In characters; longer lines are told in parts. */
const MAX_LINE = 16 * 1024
/** The variables that an app gets from the router's environment. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'NODE_ENV']

/** Starts apps in threads and processes of their own. */
export class Upstreams {
  readonly #settings: Settings
  readonly #redo: Redo
  readonly #write: WriteLine
  #folder: SocketFolder | undefined
  #reaper: Reaper | undefined
  readonly #cgroups = new MemoryCgroups()
  #isClosed = false
  /** Those that have not ended. */
  readonly #running = new Set<Upstream>()
  readonly #redone = new WeakSet<IncomingMessage>()
  readonly #starting = new Set<Upstream>()

  constructor(settings: Settings, redo: Redo, write: WriteLine) {
    this.#settings = settings
    this.#redo = redo
    this.#write = write
  }

  /** Rejects with a `VhostError`. */
  async launch(
    release: Release,
    isolation: 'thread' | 'process',
    own: VhostSettings,
    findInfo: FindInfo,
  ): Promise<Launched> {
    let upstream: Upstream | undefined
    let setup: Setup | undefined
    try {
      const runnerSettings = await this.#runnerSettings(release, own)
      setup = runnerSettings.setup
      if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
      upstream = this.#start(release, isolation, runnerSettings)
      const { loadTimeout } = this.#settings
      await within(loadTimeout, serves(upstream, own, findInfo), () => {
        throw new VhostError('ERR_VHOST_LOAD_TIMEOUT', { detail: `more than ${loadTimeout} ms` })
      })
      return upstream
    } catch (error) {
      if (upstream) void letGo(upstream)
      const { cause } = error as VhostError
      // No process starts in a folder that is gone, but the error would be about Node: looking again says what is missing.
      if (isNotStarted(cause)) await this.#findEntry(release.realPath, own)
      if (setup) await tellPlace(cause, setup.entry, setup.owner)
      throw error instanceof VhostError ? error : new VhostError('ERR_VHOST_LOAD', { cause: error })
    } finally {
      if (upstream) this.#starting.delete(upstream)
    }
  }

  /** Ends apps that are about to start, waits for the end of those that were told to, and removes what they left. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const upstream of this.#starting) void upstream.kill()
    await Promise.all([...this.#running].map(({ exited }) => exited))
    this.#reaper?.close()
    this.#folder?.close()
  }

  async #runnerSettings(release: Release, own: VhostSettings): Promise<RunnerSettings> {
    const { realPath } = release
    const { basePath, appDir, getModulePaths, env, memoryLimit, user } = this.#settings
    const { path: entry } = await this.#findEntry(realPath, own)
    const owner = user === 'owner' ? await ownerOf(realPath, entry, basePath) : undefined
    // Read again: at the first read the folder may have belonged to somebody else.
    const { env: ownEnv } = owner ? await readVhostSettings(realPath, { user, uid: owner.uid }) : own
    if (this.#isClosed) throw new VhostError('ERR_VHOST_CLOSED')
    this.#folder ??= new SocketFolder()
    const setup: Setup = {
      entry,
      realPath,
      socketPath: this.#folder.next(),
      appFolder: join(realPath, appDir),
      exportName: own.exportName ?? this.#settings.exportName,
      modulePaths: getModulePaths ? checkGiven('getModulePaths', getModulePaths(realPath)) : [],
      env: ownEnv,
      owner,
    }
    const appEnv = present({
      ...inherited(owner),
      ...(typeof env === 'function' ? checkGiven('env', env({ realPath })) : env),
    })
    expectTypesTaken(entry, 'NODE_OPTIONS' in appEnv)
    return {
      setup,
      env: appEnv,
      memoryLimit:
        typeof memoryLimit === 'function'
          ? checkGiven('memoryLimit', memoryLimit({ realPath }))
          : memoryLimit,
    }
  }

  #findEntry(realPath: string, { moduleName }: VhostSettings): Promise<EntryModule> {
    return findEntryModule(realPath, this.#settings.appDir, moduleName ?? this.#settings.moduleName)
  }

  #start(release: Release, isolation: 'thread' | 'process', runnerSettings: RunnerSettings): Upstream {
    const { trusts, requestTimeout, heartbeatTimeout } = this.#settings
    const { socketPath } = runnerSettings.setup
    this.#reaper ??= new Reaper((this.#folder as SocketFolder).path, this.#cgroups.prefix)
    this.#reaper.start()
    const runner =
      isolation === 'thread'
        ? startThread(runnerSettings)
        : startProcess(runnerSettings, this.#reaper, this.#cgroups)
    for (const name of ['stdout', 'stderr'] as const) {
      readLines(runner[name], MAX_LINE, line => this.#write(release, name, line))
    }
    const upstream = new Upstream(runner, {
      isolation,
      socketPath,
      trusts,
      requestTimeout,
      heartbeatTimeout,
      redo: this.#redo,
      redone: this.#redone,
    })
    this.#running.add(upstream)
    this.#starting.add(upstream)
    void upstream.exited.then(async exit => {
      this.#running.delete(upstream)
      debug('%s of %s ended: %o', isolation, release.realPath, exit)
      await this.#folder?.release(socketPath)
    })
    return upstream
  }
}

/** An app that was loaded but does not answer its probe must close what it opened. */
async function letGo(upstream: Upstream): Promise<void> {
  if (!upstream.isReady) await upstream.kill()
  else {
    await upstream
      .dispose()
      .catch(error => debug('close() of an app that does not answer its probe: %o', error))
  }
}

function isNotStarted(cause: unknown): boolean {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException
  return code === 'ENOENT' && syscall === `spawn ${process.execPath}`
}

async function serves(upstream: Upstream, own: VhostSettings, findInfo: FindInfo): Promise<void> {
  await upstream.ready
  if (own.probe) await probe(upstream.handle, await findInfo(), own.probe)
}

function inherited(owner: Owner | undefined): Environment {
  // The home of root is not the owner's.
  const names = owner ? INHERITED.filter(name => name !== 'HOME') : INHERITED
  return Object.fromEntries(names.map(name => [name, process.env[name]]))
}

/** A thread would get the text `undefined`. */
function present(env: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
