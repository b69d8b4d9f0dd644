import { type FSWatcher as NodeWatcher, watch as watchFolder } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import { watch as chokidarWatch } from 'chokidar'
import { debug } from './events.ts'
import { isOwnEvent, matters, type Places } from './watch-places.ts'

/** A folder with more entries is watched without chokidar, which lists the whole folder at each event in it. */
const MAX_ENTRIES = 1000
/** What has a watch is compared with the disk this many times less often. */
const ARMED_EVERY = 10
/** Comparisons at a time. */
const LANES = 4

interface WatcherSettings {
  readonly basePath: string
  readonly updateInterval: number
  readonly watch: boolean
}

/** Something to keep an eye on, under a key. */
export interface Watched {
  /** Whether the watched places tell of every change; if not, each interval compares. */
  readonly isComplete: boolean
  places(): Promise<Places>
}

interface Subject {
  watched: Watched
  folders: Folder[]
  isRunning: boolean
  isDue: boolean
}

/**
 * Says when something may have changed: the interval makes it right, file-system events make it fast. An event never
 * is a change, it only asks for a comparison now. Knows nothing of apps.
 */
export class Watcher {
  readonly #settings: WatcherSettings
  readonly #compare: (key: string) => Promise<void>
  readonly #subjects = new Map<string, Subject>()
  readonly #folders = new Map<string, Folder>()
  #timer: NodeJS.Timeout | undefined
  #round = 0
  #baseStamp = ''
  #isClosed = false
  #hasWarned = false

  constructor(settings: WatcherSettings, compare: (key: string) => Promise<void>) {
    this.#settings = settings
    this.#compare = compare
  }

  /** Keeps an eye on a key, or has its places looked up anew; compares once they are watched. */
  watch(key: string, watched: Watched): void {
    if (this.#isClosed) return
    const subject = this.#subjects.get(key) ?? { watched, folders: [], isRunning: false, isDue: false }
    subject.watched = watched
    this.#subjects.set(key, subject)
    this.#schedule()
    if (this.#settings.watch) void this.#arm(key, subject, watched)
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

  async #run(key: string, subject: Subject): Promise<void> {
    subject.isRunning = true
    while (subject.isDue && this.#subjects.get(key) === subject) {
      subject.isDue = false
      await this.#compare(key)
    }
    subject.isRunning = false
  }

  async #arm(key: string, subject: Subject, watched: Watched): Promise<void> {
    const places = await watched.places().catch(() => new Map())
    if (this.#subjects.get(key) !== subject || subject.watched !== watched) return
    const before = subject.folders
    subject.folders = []
    for (const [path, names] of places) {
      const known = this.#folders.get(path)
      // A watch is deaf once its folder was replaced, and may have been: its successor is opened first.
      if (known?.isDoubtful) this.#folders.delete(path)
      const folder = this.#folders.get(path) ?? this.#open(path)
      if (known && known !== folder) this.#moveSubjects(known, folder)
      folder.names.set(key, names)
      subject.folders.push(folder)
    }
    for (const folder of before) if (!subject.folders.includes(folder)) this.#leave(folder, key)
    await Promise.all(subject.folders.map(folder => folder.ready))
    // What happened before the watch was there.
    this.wake(key)
  }

  #open(path: string): Folder {
    const folder = new Folder(
      path,
      name => this.#heard(folder, name),
      error => this.#warn(error),
    )
    this.#folders.set(path, folder)
    return folder
  }

  #moveSubjects(from: Folder, to: Folder): void {
    for (const [key, names] of from.names) {
      to.names.set(key, names)
      const subject = this.#subjects.get(key)
      if (subject) subject.folders = subject.folders.map(folder => (folder === from ? to : folder))
    }
    from.names.clear()
    from.close()
  }

  #leave(folder: Folder, key: string): void {
    folder.names.delete(key)
    if (folder.names.size > 0) return
    folder.close()
    if (this.#folders.get(folder.path) === folder) this.#folders.delete(folder.path)
  }

  #heard(folder: Folder, name: string | null): void {
    if (isOwnEvent(folder.path, name)) folder.isDoubtful = true
    for (const [key, names] of folder.names) {
      if (matters(folder.path, names, name)) this.wake(key)
    }
  }

  #warn(error: NodeJS.ErrnoException): void {
    debug('no watch: %s', error.message)
    if (this.#hasWarned) return
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
    this.#round++
    // No watch tells when a folder above the vhosts is replaced.
    const baseStamp = await stampOf(this.#settings.basePath)
    const isBaseNew = baseStamp !== this.#baseStamp
    this.#baseStamp = baseStamp
    const isFull = isBaseNew || this.#round % ARMED_EVERY === 0
    const due = [...this.#subjects].filter(([, subject]) => isFull || !isArmed(subject))
    await Promise.all(Array.from({ length: LANES }, () => this.#takeTurns(due)))
  }

  async #takeTurns(due: [string, Subject][]): Promise<void> {
    for (let next = due.pop(); next; next = due.pop()) {
      const [key, subject] = next
      subject.isDue = true
      if (!subject.isRunning && this.#subjects.get(key) === subject) await this.#run(key, subject)
    }
  }
}

function isArmed(subject: Subject): boolean {
  const { watched, folders } = subject
  return (
    watched.isComplete && folders.length > 0 && folders.every(folder => folder.isLive && !folder.isDoubtful)
  )
}

/** One watched folder, shared by all who need it. */
class Folder {
  readonly path: string
  /** The names that matter, by key. */
  readonly names = new Map<string, Set<string> | undefined>()
  readonly ready: Promise<void>
  isLive = false
  /** Whether the folder itself had an event, so that its watch may be one of a folder that is gone. */
  isDoubtful = false
  #isClosed = false
  #close: () => void = () => {}

  constructor(
    path: string,
    heard: (name: string | null) => void,
    failed: (error: NodeJS.ErrnoException) => void,
  ) {
    this.path = path
    const lost = (error: unknown): void => {
      this.isLive = false
      this.isDoubtful = true
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
  }
}

async function hasMoreEntries(path: string, limit: number): Promise<boolean> {
  let entries = 0
  for await (const _ of await opendir(path, { bufferSize: 256 })) {
    if (++entries > limit) return true
  }
  return false
}

async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino } = await stat(path, { bigint: true })
    return `${dev}:${ino}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
