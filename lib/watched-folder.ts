import { type FSWatcher, watch } from 'node:fs'
import { isGone } from './gone.ts'

/** Is told what had an event in a folder, where the system says so; and why there is no watch, or none any more. */
export interface FolderListener<Link> {
  heard(folder: WatchedFolder<Link>, name: string | null): void
  failed(error: NodeJS.ErrnoException): void
}

/** One watched folder, shared by all who need it: one link for each. */
export class WatchedFolder<Link> {
  readonly path: string
  /** Tells the folder from another one that takes its place. */
  readonly stamp: string
  isLive = false
  /** Whether the folder itself had an event, so that its watch may be one of a folder that is gone. */
  isDoubtful = false
  /** Whether nothing was there when the watch was to begin. */
  isMissing = false
  readonly #listener: FolderListener<Link>
  #links: Link[] = []
  #watcher: FSWatcher | undefined

  constructor(path: string, stamp: string, listener: FolderListener<Link>) {
    this.path = path
    this.stamp = stamp
    this.#listener = listener
    try {
      this.#watcher = watch(path, { persistent: false }, (_, name) => listener.heard(this, name))
      this.#watcher.on('error', error => this.#lose(error))
      this.isLive = true
    } catch (error) {
      this.#lose(error as NodeJS.ErrnoException)
    }
  }

  get links(): readonly Link[] {
    return this.#links
  }

  add(link: Link): void {
    // As a rule there is one: an array that is pushed into keeps room for many.
    if (this.#links.length === 0) this.#links = [link]
    else this.#links.push(link)
  }

  remove(link: Link): void {
    const index = this.#links.indexOf(link)
    if (index < 0) return
    const last = this.#links.pop() as Link
    if (last !== link) this.#links[index] = last
  }

  close(): void {
    this.isLive = false
    this.#watcher?.close()
  }

  #lose(error: NodeJS.ErrnoException): void {
    this.isLive = false
    this.isDoubtful = true
    this.isMissing = isGone(error)
    this.#listener.failed(error)
  }
}
