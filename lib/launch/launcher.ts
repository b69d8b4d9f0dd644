import { VhostError } from '../errors.ts'
import type { Settings } from '../options.ts'
import type { Release } from '../release.ts'
import { readVhostSettings, type VhostSettings } from '../vhost-settings.ts'
import { refuseNoFile } from './entry-module.ts'
import { InProcess } from './in-process.ts'
import { isolationOf } from './isolation.ts'
import type { FindInfo, Launched } from './launch.ts'
import type { Redo } from './untouched.ts'
import { Upstreams, type WriteLine } from './upstreams.ts'

/** Starts releases as the settings say: in this process, or in a thread or process of their own. */
export class Launcher {
  readonly #settings: Settings
  readonly #inProcess: InProcess
  readonly #upstreams: Upstreams

  /** `redo` takes a request that an upstream left untouched; `write` takes the output of apps. */
  constructor(settings: Settings, redo: Redo, write: WriteLine) {
    this.#settings = settings
    this.#inProcess = new InProcess(settings)
    this.#upstreams = new Upstreams(settings, redo, write)
  }

  /** ES module graphs that Node keeps and nobody uses any more. */
  get staleGraphs(): number {
    return this.#inProcess.staleGraphs
  }

  /** `lastEntry` is where its module was last found. Rejects with a `VhostError`. */
  async launch(release: Release, lastEntry: string | undefined, findInfo: FindInfo): Promise<Launched> {
    const { realPath } = release
    const own = await ownSettings(realPath, this.#settings)
    const isolation = isolationOf(realPath, own, this.#settings)
    if (isolation === 'none') return await this.#inProcess.launch(release, lastEntry, own, findInfo)
    return await this.#upstreams.launch(release, isolation, own, findInfo)
  }

  /** Makes the next load of a real path a new one, even if its modules were kept to be used again. */
  discard(realPath: string): void {
    this.#inProcess.discard(realPath)
  }

  /** Stops waiting for loads. An app that arrives later is disposed. */
  async close(): Promise<void> {
    this.#inProcess.close()
    await this.#upstreams.close()
  }
}

async function ownSettings(realPath: string, settings: Settings): Promise<VhostSettings> {
  try {
    const [own] = await Promise.all([
      readVhostSettings(realPath, settings),
      refuseNoFile(realPath, settings.appDir),
    ])
    return own
  } catch (cause) {
    throw cause instanceof VhostError ? cause : new VhostError('ERR_VHOST_LOAD', { cause })
  }
}
