import { AsyncLocalStorage } from 'node:async_hooks'
import { dirname } from 'node:path'
import { debug } from './events.ts'
import { isGone } from './files/gone.ts'
import { stampOf } from './watcher/folder-stamp.ts'
import { inLanes } from './watcher/lanes.ts'
import type { NamedLink } from './watcher/links-by-name.ts'
import { ReplacedFolders } from './watcher/replaced-folders.ts'
import { isOwnEvent, type Places } from './watcher/watch-places.ts'
import { type FolderListener, WatchedFolder } from './watcher/watched-folder.ts'

/** What has a working watch is compared with the disk this many times less often. */
const ARMED_EVERY = 10
/**
 * If nothing is there to watch, it is looked for this many times, `RETRY` milliseconds apart; then the interval must
 * do.
 */
const MAX_ATTEMPTS = 10
const RETRY = 50

interface WatcherSettings {
  readonly basePath: string
  readonly updateInterval: number
  readonly watch: boolean
}

/** Something to keep an eye on, under a key. */
export interface Watched {
  /** Whether the watched places show every change now; if not, each interval compares. */
  isComplete(): boolean
  places(): Promise<Places>
  /** The folder that holds what is watched: no watch shows when it, or one above it, is renamed. */
  readonly above: string
}

/** Compares what stands under a key with the disk. Resolves when the disk has been read; never rejects. */
type Compare = (key: string) => Promise<void>

interface Subject {
  readonly key: string
  watched: Watched
  links: readonly Link[]
  isRunning: boolean
  isDue: boolean
  /** Whether the way to what is watched may have changed. */
  isAstray: boolean
  /** How many times its places have been looked up. */
  armings: number
  /** In which of `ARMED_EVERY` rounds it is compared even if its watches have shown nothing. */
  readonly turn: number
}

/** A subject's need for a folder. */
interface Link extends NamedLink {
  readonly subject: Subject
  folder: WatchedFolder<Link>
}

/**
 * Says when something may have changed: the interval makes it right, file-system events make it fast. An event is never
 * taken for a change; it only asks for a comparison now. Knows nothing of apps.
 */
export class Watcher {
  readonly #settings: WatcherSettings
  readonly #compare: Compare
  readonly #subjects = new Map<string, Subject>()
  readonly #folders = new Map<string, WatchedFolder<Link>>()
  readonly #listener: FolderListener<Link> = {
    heard: (folder, name) => this.#heard(folder, name),
    failed: error => this.#warn(error),
  }
  #timer: NodeJS.Timeout | undefined
  #round = 0
  #turns = 0
  readonly #above = new ReplacedFolders()
  #isClosed = false
  #hasWarned = false
  /** Timers and watches serve all requests, and must not keep the async context of the first one. */
  readonly #outside = AsyncLocalStorage.snapshot()

  constructor(settings: WatcherSettings, compare: Compare) {
    this.#settings = settings
    this.#compare = compare
  }

  /** Keeps an eye on a key, or looks its places up anew; compares once they are watched. */
  watch(key: string, watched: Watched): void {
    if (this.#isClosed) return
    const known = this.#subjects.get(key)
    const subject = known ?? {
      key,
      watched,
      links: [],
      isRunning: false,
      isDue: false,
      isAstray: false,
      armings: 0,
      turn: this.#turns++ % ARMED_EVERY,
    }
    subject.watched = watched
    this.#subjects.set(key, subject)
    this.#outside(() => {
      this.#schedule()
      if (this.#settings.watch) void this.#arm(subject)
      else this.wake(key)
    })
  }

  unwatch(key: string): void {
    const subject = this.#subjects.get(key)
    if (!subject) return
    this.#subjects.delete(key)
    for (const link of subject.links) this.#leave(link)
  }

  /** Compares now, or once more when a comparison of this key is under way. */
  wake(key: string): void {
    const subject = this.#subjects.get(key)
    if (!subject) return
    subject.isDue = true
    if (!subject.isRunning) void this.#outside(() => this.#run(subject))
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const key of [...this.#subjects.keys()]) this.unwatch(key)
  }

  /** Resolves when the disk has been read, and the places looked up anew if the way to them may have changed. */
  async #run(subject: Subject): Promise<void> {
    subject.isRunning = true
    subject.isDue = false
    await this.#compare(subject.key)
    subject.isRunning = false
    if (!this.#isKept(subject)) return
    const arming = subject.isAstray ? this.#arm(subject) : undefined
    if (subject.isDue) void this.#run(subject)
    await arming
  }

  async #arm(subject: Subject, attempts = MAX_ATTEMPTS): Promise<void> {
    const arming = ++subject.armings
    subject.isAstray = false
    const places = await subject.watched.places().catch(() => new Map())
    const stamps = new Map<string, string>()
    await Promise.all([...places.keys()].map(async path => stamps.set(path, await stampOf(path))))
    if (!this.#isKept(subject) || subject.armings !== arming) return
    const before = subject.links
    // Not pushed one by one: such an array would keep room for more.
    subject.links = [...places].map(([path, names]) => {
      const folder = this.#folderAt(path, stamps.get(path) as string)
      const known = before.find(one => one.folder === folder && areSame(one.names, names))
      return known ?? addLink({ subject, folder, names })
    })
    for (const link of before) if (!subject.links.includes(link)) this.#leave(link)
    // For what happened before the watch was there.
    this.wake(subject.key)
    // A folder that was missing just now has no watch to show its return.
    const isMissing = places.size === 0 || subject.links.some(({ folder }) => folder.isMissing)
    if (!isMissing || attempts === 0) return
    setTimeout(() => {
      if (this.#isKept(subject) && subject.armings === arming) void this.#arm(subject, attempts - 1)
    }, RETRY).unref()
  }

  #folderAt(path: string, stamp: string): WatchedFolder<Link> {
    const known = this.#folders.get(path)
    // A watch is deaf once its folder has been replaced, as this one may have been. Its successor is opened first.
    if (known && !known.isDoubtful && known.stamp === stamp) return known
    const folder = new WatchedFolder<Link>(path, stamp, this.#listener)
    this.#folders.set(path, folder)
    if (known) moveLinks(known, folder)
    return folder
  }

  #leave(link: Link): void {
    const { folder } = link
    folder.remove(link)
    if (folder.links.length > 0) return
    folder.close()
    this.#folders.delete(folder.path)
  }

  #heard(folder: WatchedFolder<Link>, name: string | null): void {
    const isOwn = isOwnEvent(folder.path, name)
    if (isOwn) folder.isDoubtful = true
    const links = folder.linksFor(name)
    for (const { subject, names } of links) {
      subject.isDue = true
      // Names, if given, are steps on the way; what lies in a folder that matters as a whole is not.
      if (isOwn || names) subject.isAstray = true
    }
    // In lanes: if thousands share the folder, all at once would leave no time for requests.
    const subjects = links.map(({ subject }) => subject)
    void inLanes(subjects, subject => this.#takeTurnIfDue(subject))
  }

  #warn(error: NodeJS.ErrnoException): void {
    debug('no watch: %s', error.message)
    // A folder that is gone already is not one that cannot be watched.
    if (this.#hasWarned || isGone(error)) return
    this.#hasWarned = true
    process.emitWarning(
      `A folder cannot be watched (${error.code}): changes are seen within ${this.#settings.updateInterval} ms instead of at once`,
      { type: 'ExpressVanWarning', code: 'EXPRESS_VAN_WATCH' },
    )
  }

  #schedule(): void {
    if (this.#timer || this.#isClosed) return
    this.#timer = setTimeout(() => {
      void this.#sweep().finally(() => {
        this.#timer = undefined
        if (this.#subjects.size > 0) this.#schedule()
      })
    }, this.#settings.updateInterval)
    this.#timer.unref()
  }

  async #sweep(): Promise<void> {
    const turn = this.#round++ % ARMED_EVERY
    const replaced = await this.#above.among(this.#unwatchedAbove())
    const isBaseReplaced = replaced.has(this.#settings.basePath)
    const due = [...this.#subjects.values()].filter(subject => {
      const isReplaced = isBaseReplaced || replaced.has(subject.watched.above)
      // What is watched may lie elsewhere now, even if the same release is there again.
      if (isReplaced && this.#settings.watch) subject.isAstray = true
      return isReplaced || subject.turn === turn || !isArmed(subject)
    })
    await inLanes(due, subject => this.#takeTurn(subject))
  }

  /** The base path, and the folders above vhosts that no watch covers; one covers `releases` in a watched folder. */
  #unwatchedAbove(): Set<string> {
    const paths = new Set([this.#settings.basePath])
    for (const { watched } of this.#subjects.values()) {
      if (!paths.has(watched.above) && !this.#folders.has(dirname(watched.above))) paths.add(watched.above)
    }
    return paths
  }

  /** Unless it has been compared meanwhile. */
  #takeTurnIfDue(subject: Subject): Promise<void> | undefined {
    return subject.isDue ? this.#takeTurn(subject) : undefined
  }

  #takeTurn(subject: Subject): Promise<void> | undefined {
    if (!this.#isKept(subject)) return undefined
    subject.isDue = true
    return subject.isRunning ? undefined : this.#run(subject)
  }

  /** Whether a subject is still the one under its key. */
  #isKept(subject: Subject): boolean {
    return this.#subjects.get(subject.key) === subject
  }
}

function addLink(link: Link): Link {
  link.folder.add(link)
  return link
}

function moveLinks(from: WatchedFolder<Link>, to: WatchedFolder<Link>): void {
  for (const link of from.links) {
    link.folder = to
    to.add(link)
  }
  from.close()
}

function areSame(some: readonly string[] | undefined, others: readonly string[] | undefined): boolean {
  if (some === undefined || others === undefined) return some === others
  return some.length === others.length && some.every((name, at) => name === others[at])
}

function isArmed({ watched, links }: Subject): boolean {
  return links.length > 0 && links.every(({ folder }) => !folder.isDoubtful) && watched.isComplete()
}
