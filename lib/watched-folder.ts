import { type FSWatcher as NodeWatcher, watch as watchFolder } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { watch as chokidarWatch } from 'chokidar'
import { isGone } from './gone.ts'

/** A folder with more entries is watched without chokidar, which lists the whole folder at each event in it. */
const MAX_ENTRIES = 1000

/** One watched folder, shared by all who need it. */
export class WatchedFolder {
  readonly path: string
  /** Tells the folder from another one that takes its place. */
  readonly stamp: string
  /** The names that matter, by key. */
  readonly names: Map<string, Set<string> | undefined> = new Map()
  readonly ready: Promise<void>
  isLive = false
  /** Whether the folder itself had an event, so that its watch may be one of a folder that is gone. */
  isDoubtful = false
  /** Whether nothing was there when the watch was to begin. */
  isMissing = false
  #isClosed = false
  #close: () => void = () => {}

  constructor(
    path: string,
    stamp: string,
    heard: (name: string | null) => void,
    failed: (error: NodeJS.ErrnoException) => void,
  ) {
    this.path = path
    this.stamp = stamp
    const lost = (error: unknown): void => {
      this.isLive = false
      this.isDoubtful = true
      this.isMissing = isGone(error)
      if (!this.#isClosed) failed(error as NodeJS.ErrnoException)
    }
    this.ready = this.#open(heard, lost).catch(lost)
  }

  close(): void {
    this.#isClosed = true
    this.isLive = false
    this.#close()
  }

  async #open(heard: (name: string | null) => void, lost: (error: unknown) => void): Promise<void> {
    const isLarge = await hasMoreEntries(this.path, MAX_ENTRIES)
    if (this.#isClosed) return
    if (isLarge) this.#openPlain(heard, lost)
    else await this.#openChokidar(heard, lost)
    this.isLive = !this.#isClosed && !this.isDoubtful
  }

  #openPlain(heard: (name: string | null) => void, lost: (error: unknown) => void): void {
    const watcher: NodeWatcher = watchFolder(this.path, { persistent: false }, (_, name) => heard(name))
    watcher.on('error', lost)
    this.#close = () => watcher.close()
  }

  async #openChokidar(heard: (name: string | null) => void, lost: (error: unknown) => void): Promise<void> {
    const watcher = chokidarWatch(this.path, {
      depth: 0,
      ignoreInitial: true,
      persistent: false,
      ignored: path => path !== this.path,
    })
    watcher.on('raw', (_, name) => heard(name))
    watcher.on('error', lost)
    await new Promise<void>(resolve => {
      watcher.once('ready', resolve)
      this.#close = () => {
        resolve()
        void watcher.close()
      }
    })
    // Chokidar says that it is ready where there is nothing to watch, too.
    this.isMissing = !Object.hasOwn(watcher.getWatched(), this.path)
    if (this.isMissing) this.isDoubtful = true
  }
}

async function hasMoreEntries(path: string, limit: number): Promise<boolean> {
  let entries = 0
  for await (const _ of await opendir(path, { bufferSize: 256 })) {
    if (++entries > limit) return true
  }
  return false
}
