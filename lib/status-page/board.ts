import { EventEmitter } from 'node:events'
import { VhostError } from '../errors.ts'
import type { EvictReason, VhostEvents } from '../events.ts'
import type { AppStats, VhostRouter, VhostState, VhostStats } from '../index.ts'
import { NOT_RUNNING, type PlainVersion, plainVersion } from '../stats.ts'
import { causeOf, shortened, stackOf } from '../values/thrown.ts'

/** One line of the page's table: an app, a release that does not load, or an evicted app. */
export interface BoardRow extends Omit<AppStats, 'state'> {
  /** Identifies this generation of an app; another one of the same vhost has another id. */
  readonly id: string
  readonly state: VhostState | 'evicted'
  /** Since when it has been in this state, in ISO 8601; null during the first load. */
  readonly since: string | null
  /** Why it was evicted. */
  readonly reason: EvictReason | null
  /** Requests per second, between the last two samples. */
  readonly rate: number
}

/** Something that the router did. An eviction because another release took over is not listed separately. */
export interface Deploy {
  /** Grows by one each. */
  readonly id: number
  /** ISO 8601. */
  readonly time: string
  readonly event: 'load' | 'reload' | 'evict' | 'error'
  readonly hostnames: readonly string[]
  readonly realPath: string
  readonly version: PlainVersion
  readonly durationMs: number | null
  readonly reason: EvictReason | null
  readonly message: string | null
  readonly cause: string | null
  readonly stack: string | null
  /** The real path of the release that still serves although this one was refused. */
  readonly serving: string | null
}

/** What a page shows when it is opened. */
export interface BoardSnapshot {
  /** By the server's clock, in ISO 8601. */
  readonly time: string
  readonly totals: VhostStats['totals']
  readonly staleGraphs: number
  /** Milliseconds between two samples of `series`. */
  readonly interval: number
  readonly rows: readonly BoardRow[]
  /** Requests per second at each sample, the latest last, by the first hostname of a row. */
  readonly series: Readonly<Record<string, readonly number[]>>
  readonly deploys: readonly Deploy[]
}

/** What has changed since the last message. */
export interface BoardChange {
  readonly totals: VhostStats['totals']
  readonly staleGraphs: number
  /** How many samples have ended since; each series is extended that many times by the rate of its row. */
  readonly samples: number
  /** New rows in full; of the others, the fields that have changed. */
  readonly rows: readonly (Partial<BoardRow> & Pick<BoardRow, 'id'>)[]
  /** The ids of rows that no longer exist. */
  readonly gone: readonly string[]
  readonly deploys: readonly Deploy[]
}

/** Milliseconds between two samples. */
export const SAMPLE_INTERVAL: number = 2000
/** Five minutes of samples. */
export const MAX_SAMPLES = 150
const MAX_DEPLOYS = 200
const MAX_EVICTED = 200
const REPLACED: readonly EvictReason[] = ['changed', 'moved', 'reloaded']

interface Count {
  readonly requests: number
  readonly rate: number
  readonly name: string
}

/** The state of the router at one moment, read once for everything that is shown of it. */
export interface BoardLook extends Pick<VhostStats, 'totals' | 'staleGraphs' | 'isClosed'> {
  readonly rows: readonly BoardRow[]
}

/** What the page shows, made from a router's stats and events alone. */
export class Board {
  /** The most recent ones, the latest last. */
  readonly deploys: Deploy[] = []
  /** Called after each event. */
  onDeploy: () => void = () => {}
  readonly #vhosts: Pick<VhostRouter, 'stats' | 'on'>
  readonly #evicted = new Map<string, BoardRow>()
  readonly #series = new Map<string, number[]>()
  /** The short ids of the apps at the last look, which each change repeats. */
  #ids = new Map<string, string>()
  /** The first names of the rows at the last look. */
  #firstNames: ReadonlySet<string> = new Set()
  #lastId = 0
  /** For each row of the last sample: how many requests it had, and its rate since the sample before. */
  #counts = new Map<string, Count>()
  #sampledAt: number | undefined
  #deployId = 0

  constructor(vhosts: Pick<VhostRouter, 'stats' | 'on'>) {
    this.#vhosts = vhosts
    for (const event of ['load', 'reload', 'evict'] as const) {
      vhosts.on(event, about => this.#note(event, about))
    }
    // An ordinary listener of errors would silence stderr.
    vhosts.on(EventEmitter.errorMonitor, about => this.#note('error', about))
  }

  /** A look, and the history before it. */
  snapshot({ totals, staleGraphs, rows }: BoardLook): BoardSnapshot {
    return {
      time: new Date().toISOString(),
      totals,
      staleGraphs,
      interval: SAMPLE_INTERVAL,
      rows,
      series: Object.fromEntries([...this.#series].filter(([, rates]) => rates.some(rate => rate > 0))),
      deploys: this.deploys,
    }
  }

  /** Reads the router's state. A sample also counts the requests since the last sample. */
  look({ isSample = false }: { isSample?: boolean } = {}): BoardLook {
    const { vhosts, totals, staleGraphs, isClosed } = this.#vhosts.stats()
    for (const { hostnames } of this.#evicted.size > 0 ? vhosts : []) {
      for (const name of hostnames) this.#evicted.delete(name)
    }
    const running = this.#identify(vhosts)
    const rows = [...running, ...this.#evicted.values()]
    if (isSample) this.#count(rows)
    for (const row of running) row.rate = this.#counts.get(row.id)?.rate ?? 0
    return { totals, staleGraphs, isClosed, rows }
  }

  #identify(apps: readonly AppStats[]): (BoardRow & { rate: number })[] {
    const ids = new Map<string, string>()
    const rows = apps.map(app => {
      const key = unusedKey(`${app.realPath} ${app.loadedAt ?? app.state}`, ids)
      const id = this.#ids.get(key) ?? String(++this.#lastId)
      ids.set(key, id)
      // Spread last: spread first, it takes twenty times as long.
      const row = { id, since: app.lastError?.since ?? app.loadedAt, reason: null, rate: 0, ...app }
      row.hostnames = beginningAsBefore(app.hostnames, this.#firstNames)
      return row
    })
    this.#ids = ids
    this.#firstNames = new Set(rows.flatMap(({ hostnames }) => hostnames.slice(0, 1)))
    return rows
  }

  #count(rows: readonly BoardRow[]): void {
    const now = performance.now()
    const seconds = (now - (this.#sampledAt ?? now)) / 1000
    const isFirst = this.#sampledAt === undefined
    const rates = new Map<string, number>()
    const counts = new Map<string, Count>()
    for (const { id, requests, hostnames } of rows) {
      const before = this.#counts.get(id)
      // A draining app counts under the name that led to it.
      const name = hostnames[0] ?? before?.name ?? ''
      const asked = requests - (before?.requests ?? (isFirst ? requests : 0))
      const rate = seconds > 0 ? Math.round((asked / seconds) * 10) / 10 : 0
      counts.set(id, { requests, rate, name })
      rates.set(name, (rates.get(name) ?? 0) + rate)
    }
    this.#counts = counts
    this.#sampledAt = now
    for (const name of this.#series.keys()) if (!rates.has(name)) this.#series.delete(name)
    for (const [name, rate] of rates) {
      const series = this.#series.get(name) ?? []
      this.#series.set(name, series)
      series.push(rate)
      if (series.length > MAX_SAMPLES) series.shift()
    }
  }

  /** Drops counts that are of no use because nobody has looked for so long. */
  forget(): void {
    this.#sampledAt = undefined
    this.#counts.clear()
    this.#series.clear()
  }

  #note<E extends Deploy['event']>(event: E, about: VhostEvents[E]): void {
    const { hostnames, realPath, version } = about
    const { durationMs = null, reason = null } = about as Partial<VhostEvents['load'] & VhostEvents['evict']>
    if (reason && REPLACED.includes(reason)) return
    const { error, serving } = about as Partial<VhostEvents['error']>
    // An app's own mistake is no refused deploy; a folder that cannot be read is one.
    if (error && serving && !(error instanceof VhostError)) return
    this.deploys.push({
      id: ++this.#deployId,
      time: new Date().toISOString(),
      event,
      hostnames,
      realPath,
      version: plainVersion(version),
      durationMs,
      reason,
      message: shortened(error?.message ?? null),
      cause: error ? shortened(causeOf(error.cause)) : null,
      stack: error ? shortened(stackOf(error.cause)) : null,
      serving: serving?.realPath ?? null,
    })
    if (this.deploys.length > MAX_DEPLOYS) this.#dropDeploy()
    if (reason) this.#noteEvicted(hostnames, realPath, reason)
    this.onDeploy()
  }

  /** First loads and evictions come with traffic, so they must not push out deploys and refusals. */
  #dropDeploy(): void {
    const at = this.deploys.findIndex(({ event }) => event === 'load' || event === 'evict')
    this.deploys.splice(Math.max(0, at), 1)
  }

  #noteEvicted(hostnames: readonly string[], realPath: string, reason: EvictReason): void {
    const [name] = hostnames
    if (name === undefined) return
    const since = new Date().toISOString()
    this.#evicted.delete(name)
    const id = `evicted ${name}`
    const row: BoardRow = {
      ...NOT_RUNNING,
      id,
      hostnames,
      realPath,
      state: 'evicted',
      since,
      reason,
      rate: 0,
    }
    this.#evicted.set(name, row)
    const [oldest] = this.#evicted.keys()
    if (this.#evicted.size > MAX_EVICTED) this.#evicted.delete(oldest as string)
  }
}

/** A row is found again by its first name, and after a flip aliases may come in any order. */
function beginningAsBefore(hostnames: readonly string[], firstNames: ReadonlySet<string>): readonly string[] {
  const first = hostnames.find(name => firstNames.has(name))
  if (first === undefined || first === hostnames[0]) return hostnames
  return [first, ...hostnames.filter(name => name !== first)]
}

// Two generations of one path may have been loaded within a millisecond.
function unusedKey(key: string, used: ReadonlyMap<string, string>): string {
  let candidate = key
  for (let i = 2; used.has(candidate); i++) candidate = `${key} ${i}`
  return candidate
}
