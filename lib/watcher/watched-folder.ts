import { type FSWatcher, watch } from 'node:fs'
import { isGone } from '../files/gone.ts'
import { LinksByName, type NamedLink } from './links-by-name.ts'
import { isOwnEvent } from './watch-places.ts'

/**
 * With more links than this they are indexed, so that an event need not go through all; with fewer, a scan saves
 * memory.
 */
const FEW = 8

/** Is told which name in a folder had an event, if the system says so, and why there is no watch, or none any more. */
export interface FolderListener<Link extends NamedLink> {
  heard(folder: WatchedFolder<Link>, name: string | null): void
  failed(error: NodeJS.ErrnoException): void
}

/** One watched folder, shared by all that need it, with one link for each. */
export class WatchedFolder<Link extends NamedLink> {
  readonly path: string
  /** Tells the folder from another one that takes its place. */
  readonly stamp: string
  /** Whether there is no watch, or one that may be on a folder that is gone: the folder itself had an event. */
  isDoubtful = false
  /** Whether nothing was there when the watch was to begin. */
  isMissing = false
  readonly #listener: FolderListener<Link>
  #links: Link[] = []
  #byName: LinksByName<Link> | undefined
  #watcher: FSWatcher | undefined

  constructor(path: string, stamp: string, listener: FolderListener<Link>) {
    this.path = path
    this.stamp = stamp
    this.#listener = listener
    try {
      this.#watcher = watch(path, { persistent: false }, (_, name) => listener.heard(this, name))
      this.#watcher.on('error', error => this.#lose(error))
    } catch (error) {
      this.#lose(error as NodeJS.ErrnoException)
    }
  }

  get links(): readonly Link[] {
    return this.#links
  }

  /** The links that an event matters to; one of the folder itself matters to all. */
  linksFor(name: string | null): readonly Link[] {
    if (name === null || isOwnEvent(this.path, name)) return this.#links
    if (this.#links.length <= FEW) return this.#links.filter(({ names }) => names?.includes(name) ?? true)
    this.#byName ??= this.#index()
    return this.#byName.get(name)
  }

  add(link: Link): void {
    this.#byName?.add(link)
    // Usually there is one link, and an array that is pushed into keeps room for many.
    if (this.#links.length === 0) this.#links = [link]
    else this.#links.push(link)
  }

  remove(link: Link): void {
    const index = this.#links.indexOf(link)
    if (index < 0) return
    this.#byName?.remove(link)
    const last = this.#links.pop() as Link
    if (last !== link) this.#links[index] = last
  }

  close(): void {
    this.#watcher?.close()
  }

  #index(): LinksByName<Link> {
    const byName = new LinksByName<Link>()
    for (const link of this.#links) byName.add(link)
    return byName
  }

  #lose(error: NodeJS.ErrnoException): void {
    this.isDoubtful = true
    this.isMissing = isGone(error)
    this.#listener.failed(error)
  }
}
