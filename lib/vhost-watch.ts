import { realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { AppCache } from './app-cache.ts'
import { unlessGone } from './files/gone.ts'
import type { Settings } from './options.ts'
import { atLeast } from './promises/at-least.ts'
import { isSameRelease, type ReadRelease } from './release.ts'
import type { Vhost } from './vhost-table.ts'
import { addPlaces, type Places, type SeenLinks } from './watcher/watch-places.ts'
import { type Watched, Watcher } from './watcher.ts'

const IN_TMP = ['restart.txt']

/** Has the watcher keep an eye on hostnames, and says which places show what changes there. */
export class VhostWatch {
  readonly #settings: Settings
  readonly #apps: AppCache
  readonly #watcher: Watcher
  readonly #keeper: Keeper = {
    isComplete: vhost => isWatchable(vhost.lastRead) && this.isQuiet(vhost),
    placesOf: vhost => this.#placesOf(vhost),
  }
  /** The names in the folder of a vhost that matter. */
  readonly #names: readonly string[]
  /** Those whose app folder was missing when it was to be watched. */
  readonly #unwatched = new WeakSet<Vhost>()

  /** `compare` is called with a hostname if something may have changed, and resolves when the disk has been read. */
  constructor(settings: Settings, apps: AppCache, compare: (hostname: string) => Promise<void>) {
    this.#settings = settings
    this.#apps = apps
    this.#names = [firstPart(settings.appDir), 'package.json', 'tmp']
    this.#watcher = new Watcher(settings, compare)
  }

  watch(vhost: Vhost): void {
    this.#watcher.watch(vhost.hostname, new WatchedVhost(vhost, this.#keeper))
  }

  unwatch(hostname: string): void {
    this.#watcher.unwatch(hostname)
  }

  /** Has a hostname compared now. */
  wake(hostname: string): void {
    this.#watcher.wake(hostname)
  }

  /** Has a hostname compared after this many milliseconds. */
  async wakeAfter(hostname: string, milliseconds: number): Promise<void> {
    await atLeast(milliseconds, { ref: false })
    this.wake(hostname)
  }

  close(): void {
    this.#watcher.close()
  }

  /** Whether the app is up to date, and nothing is missing or at fault that the interval has to look at again. */
  isQuiet(vhost: Vhost): boolean {
    const { realPath, lastRead, absence, fault } = vhost
    const serving = this.#apps.peek(realPath)
    const isUpToDate = serving !== undefined && isSameRelease(serving.release, lastRead)
    const isThere = absence === undefined && this.hasPlaces(vhost)
    return isUpToDate && isThere && fault === undefined
  }

  /** Whether its app folder was there when it was to be watched. */
  hasPlaces(vhost: Vhost): boolean {
    return !this.#unwatched.has(vhost)
  }

  async #placesOf(vhost: Vhost): Promise<Places> {
    const { hostname, vhostPath, lastRead } = vhost
    const { appDir } = this.#settings
    const places: Places = new Map()
    const seen: SeenLinks = new Map()
    if (await addPlaces(places, join(vhostPath, appDir), undefined, seen)) this.#unwatched.delete(vhost)
    else this.#unwatched.add(vhost)
    await addPlaces(places, vhostPath, this.#names, seen)
    await addPlaces(places, join(vhostPath, 'tmp'), IN_TMP, seen)
    const entry = lastRead?.entry
    // `main` may lie in a folder below, or be a link.
    for (const file of entry ? [entry, await unlessGone(realpath(entry))] : []) {
      if (file) await addPlaces(places, dirname(file), [basename(file)], seen)
    }
    // Earlier patterns would overrule this one. Each step is watched in its own folder: a rename shows only there.
    for (const step of vhost.isFirstChoice ? [] : stepsBefore(vhostPath, hostname, this.#settings)) {
      await addPlaces(places, dirname(step), [basename(step)], seen)
    }
    return places
  }
}

interface Keeper {
  isComplete(vhost: Vhost): boolean
  placesOf(vhost: Vhost): Promise<Places>
}

/** A class, because there are thousands: a closure for each of its methods would be as large as the object itself. */
class WatchedVhost implements Watched {
  readonly above: string
  readonly #vhost: Vhost
  readonly #keeper: Keeper

  constructor(vhost: Vhost, keeper: Keeper) {
    this.above = dirname(vhost.realPath)
    this.#vhost = vhost
    this.#keeper = keeper
  }

  isComplete(): boolean {
    return this.#keeper.isComplete(this.#vhost)
  }

  places(): Promise<Places> {
    return this.#keeper.placesOf(this.#vhost)
  }
}

/** Whether its places are known: not with `getVersion`, nor while its `main` is yet to come. */
function isWatchable(release: ReadRelease | undefined): boolean {
  return release?.entryStamp !== undefined
}

function firstPart(path: string): string {
  return path.split('/')[0] as string
}

/** Each step on the way to where earlier patterns, before the one that gave `vhostPath`, would have led. */
function stepsBefore(vhostPath: string, hostname: string, { basePath, vhostPatterns }: Settings): string[] {
  const steps: string[] = []
  for (const pattern of vhostPatterns) {
    const names = pattern.pathOf(hostname)?.split('/') ?? []
    const way = names.map((_, index) => resolve(basePath, ...names.slice(0, index + 1)))
    if (way.at(-1) === vhostPath) break
    steps.push(...way)
  }
  return steps
}
