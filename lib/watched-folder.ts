import { type FSWatcher, watch } from 'node:fs'
import { isGone } from './gone.ts'

/** One watched folder, shared by all who need it. */
export class WatchedFolder {
  readonly path: string
  /** Tells the folder from another one that takes its place. */
  readonly stamp: string
  /** The names that matter, by key. */
  readonly names: Map<string, Set<string> | undefined> = new Map()
  isLive = false
  /** Whether the folder itself had an event, so that its watch may be one of a folder that is gone. */
  isDoubtful = false
  /** Whether nothing was there when the watch was to begin. */
  isMissing = false
  readonly #failed: (error: NodeJS.ErrnoException) => void
  #watcher: FSWatcher | undefined

  /** `heard` is told what had an event, where the system says so; `failed` why there is no watch, or none any more. */
  constructor(
    path: string,
    stamp: string,
    heard: (name: string | null) => void,
    failed: (error: NodeJS.ErrnoException) => void,
  ) {
    this.path = path
    this.stamp = stamp
    this.#failed = failed
    try {
      this.#watcher = watch(path, { persistent: false }, (_, name) => heard(name))
      this.#watcher.on('error', error => this.#lose(error))
      this.isLive = true
    } catch (error) {
      this.#lose(error as NodeJS.ErrnoException)
    }
  }

  close(): void {
    this.isLive = false
    this.#watcher?.close()
  }

  #lose(error: NodeJS.ErrnoException): void {
    this.isLive = false
    this.isDoubtful = true
    this.isMissing = isGone(error)
    this.#failed(error)
  }
}
