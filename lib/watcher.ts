import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { debug } from './events.ts'
import { isGone } from './gone.ts'
import { isOwnEvent, matters, type Places } from './watch-places.ts'
import { WatchedFolder } from './watched-folder.ts'

/** What has a watch is compared with the disk this many times less often. */
const ARMED_EVERY = 10
/** Comparisons at a time. */
const LANES = 4

/** Where nothing is there to watch, it is looked for this often, so far apart; then the interval must do. */
const MAX_ATTEMPTS = 10
const RETRY = 50

/** A reading that takes longer is not waited for: a folder that hangs must not keep the others from being read. */
const PATIENCE = 1000

interface WatcherSettings {
  readonly basePath: string
  readonly updateInterval: number
  readonly watch: boolean
}

/** Something to keep an eye on, under a key. */
export interface Watched {
  /** Whether the watched places tell of every change now; if not, each interval compares. */
  isComplete(): boolean
  places(): Promise<Places>
  /** The folder that holds what is watched: no watch tells when it, or one above it, is renamed. */
  readonly above: string
}

/**
 * Compares what stands under a key with the disk. Resolves when the disk was read, to what is left to be done about
 * it, if anything: that is not waited for by others. Neither rejects.
 */
export type Compare = (key: string) => Promise<(() => Promise<void>) | undefined>

interface Subject {
  watched: Watched
  folders: WatchedFolder[]
  isRunning: boolean
  isDue: boolean
  /** Whether the way to what is watched may be another one now. */
  isAstray: boolean
  /** How many times its places were looked up. */
  armings: number
  /** In which of `ARMED_EVERY` rounds it is compared although its watches told nothing. */
  readonly turn: number
}

/**
 * Says when something may have changed: the interval makes it right, file-system events make it fast. An event never
 * is a change, it only asks for a comparison now. Knows nothing of apps.
 */
export class Watcher {
  readonly #settings: WatcherSettings
  readonly #compare: Compare
  readonly #subjects = new Map<string, Subject>()
  readonly #folders = new Map<string, WatchedFolder>()
  #timer: NodeJS.Timeout | undefined
  #round = 0
  #turns = 0
  /** What tells folders above the vhosts from others that take their place, by path. */
  #above = new Map<string, string>()
  #isClosed = false
  #hasWarned = false

  constructor(settings: WatcherSettings, compare: Compare) {
    this.#settings = settings
    this.#compare = compare
  }

  /** Keeps an eye on a key, or has its places looked up anew; compares once they are watched. */
  watch(key: string, watched: Watched): void {
    if (this.#isClosed) return
    const known = this.#subjects.get(key)
    const subject = known ?? {
      watched,
      folders: [],
      isRunning: false,
      isDue: false,
      isAstray: false,
      armings: 0,
      turn: this.#turns++ % ARMED_EVERY,
    }
    subject.watched = watched
    this.#subjects.set(key, subject)
    this.#schedule()
    if (this.#settings.watch) void this.#arm(key, subject)
    else this.wake(key)
  }

  unwatch(key: string): void {
    const subject = this.#subjects.get(key)
    if (!subject) return
    this.#subjects.delete(key)
    for (const folder of subject.folders) this.#leave(folder, key)
  }

  /** Compares now, or once more when a comparison of this key is under way. */
  wake(key: string): void {
    const subject = this.#subjects.get(key)
    if (!subject) return
    subject.isDue = true
    if (!subject.isRunning) void this.#run(key, subject)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const key of [...this.#subjects.keys()]) this.unwatch(key)
  }

  /** Resolves when the disk was read. */
  async #run(key: string, subject: Subject): Promise<void> {
    subject.isRunning = true
    subject.isDue = false
    const follow = await this.#compare(key)
    void this.#finish(key, subject, follow)
  }

  async #finish(key: string, subject: Subject, follow: (() => Promise<void>) | undefined): Promise<void> {
    await follow?.()
    subject.isRunning = false
    if (this.#subjects.get(key) !== subject) return
    if (subject.isAstray) void this.#arm(key, subject)
    if (subject.isDue) await this.#run(key, subject)
  }

  async #arm(key: string, subject: Subject, attempts = MAX_ATTEMPTS): Promise<void> {
    const arming = ++subject.armings
    subject.isAstray = false
    const places = await subject.watched.places().catch(() => new Map())
    const stamps = new Map<string, string>()
    await Promise.all([...places.keys()].map(async path => stamps.set(path, await stampOf(path))))
    if (this.#subjects.get(key) !== subject || subject.armings !== arming) return
    const before = subject.folders
    subject.folders = []
    for (const [path, names] of places) {
      const known = this.#folders.get(path)
      // A watch is deaf once its folder was replaced, and may have been: its successor is opened first.
      if (known && (known.isDoubtful || known.stamp !== stamps.get(path))) this.#folders.delete(path)
      const folder = this.#folders.get(path) ?? this.#open(path, stamps.get(path) as string)
      if (known && known !== folder) this.#moveSubjects(known, folder)
      folder.names.set(key, names)
      subject.folders.push(folder)
    }
    for (const folder of before) if (!subject.folders.includes(folder)) this.#leave(folder, key)
    // What happened before the watch was there.
    this.wake(key)
    // What was away just now has no watch that tells of its return.
    const isMissing = places.size === 0 || subject.folders.some(folder => folder.isMissing)
    if (!isMissing || attempts === 0) return
    setTimeout(() => {
      const isCurrent = this.#subjects.get(key) === subject && subject.armings === arming
      if (isCurrent) void this.#arm(key, subject, attempts - 1)
    }, RETRY).unref()
  }

  #open(path: string, stamp: string): WatchedFolder {
    const folder = new WatchedFolder(
      path,
      stamp,
      name => this.#heard(folder, name),
      error => this.#warn(error),
    )
    this.#folders.set(path, folder)
    return folder
  }

  #moveSubjects(from: WatchedFolder, to: WatchedFolder): void {
    for (const [key, names] of from.names) {
      to.names.set(key, names)
      const subject = this.#subjects.get(key)
      if (subject) subject.folders = subject.folders.map(folder => (folder === from ? to : folder))
    }
    from.names.clear()
    from.close()
  }

  #leave(folder: WatchedFolder, key: string): void {
    folder.names.delete(key)
    if (folder.names.size > 0) return
    folder.close()
    if (this.#folders.get(folder.path) === folder) this.#folders.delete(folder.path)
  }

  #heard(folder: WatchedFolder, name: string | null): void {
    const isOwn = isOwnEvent(folder.path, name)
    if (isOwn) folder.isDoubtful = true
    for (const [key, names] of folder.names) {
      if (!matters(folder.path, names, name)) continue
      const subject = this.#subjects.get(key)
      // Where names are given, they are steps on the way; what lies in a folder of which all matters is not.
      if (subject && (isOwn || names)) subject.isAstray = true
      this.wake(key)
    }
  }

  #warn(error: NodeJS.ErrnoException): void {
    debug('no watch: %s', error.message)
    // A folder that is gone already is no folder that cannot be watched.
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
    const replaced = await this.#lookAbove()
    const isBaseReplaced = replaced.has(this.#settings.basePath)
    const due = [...this.#subjects].filter(([, subject]) => {
      const isReplaced = isBaseReplaced || replaced.has(subject.watched.above)
      return isReplaced || subject.turn === turn || !isArmed(subject)
    })
    await Promise.all(Array.from({ length: LANES }, () => this.#takeTurns(due)))
  }

  /** The folders above the vhosts that are others than at the last sweep. */
  async #lookAbove(): Promise<Set<string>> {
    const paths = new Set([this.#settings.basePath])
    for (const { watched } of this.#subjects.values()) {
      // Of `releases` in a watched folder the watch tells.
      if (!this.#folders.has(dirname(watched.above))) paths.add(watched.above)
    }
    const before = this.#above
    const stamps = [...paths].map(async path => [path, await stampOf(path)] as const)
    this.#above = new Map(await Promise.all(stamps))
    return new Set([...paths].filter(path => this.#above.get(path) !== before.get(path)))
  }

  async #takeTurns(due: [string, Subject][]): Promise<void> {
    for (let next = due.pop(); next; next = due.pop()) {
      const [key, subject] = next
      if (this.#subjects.get(key) !== subject) continue
      subject.isDue = true
      if (!subject.isRunning) await within(PATIENCE, this.#run(key, subject))
    }
  }
}

function isArmed({ watched, folders }: Subject): boolean {
  return (
    folders.length > 0 && folders.every(folder => folder.isLive && !folder.isDoubtful) && watched.isComplete()
  )
}

async function within(milliseconds: number, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>(resolve => {
    timer = setTimeout(resolve, milliseconds).unref()
  })
  await Promise.race([promise, limit])
  clearTimeout(timer)
}

async function stampOf(path: string): Promise<string> {
  try {
    // The time of birth: the number of an inode is given to the next folder at once.
    const { dev, ino, birthtimeNs } = await stat(path, { bigint: true })
    return `${dev}:${ino}:${birthtimeNs}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
