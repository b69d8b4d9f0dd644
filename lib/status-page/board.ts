import { EventEmitter } from 'node:events'
import type { EvictReason, VhostEvents } from '../events.ts'
import type { AppStats, VhostRouter, VhostState, VhostStats } from '../index.ts'
import { causeOf, type PlainVersion, plainVersion, stackOf } from '../stats.ts'

/** One line of the page's table: an app, a release that does not load, or what was evicted. */
export interface BoardRow extends Omit<AppStats, 'state'> {
  readonly id: string
  readonly state: VhostState | 'evicted'
  /** What it has been in since then, in ISO 8601; null while it is loaded for the first time. */
  readonly since: string | null
  /** Why it was evicted. */
  readonly reason: EvictReason | null
  /** Requests in a second, between the last two samples. */
  readonly rate: number
}

/** Something that the router did. */
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
  /** The real path of what serves on although this was refused. */
  readonly serving: string | null
}

/** What a page shows when it is opened. */
export interface BoardSnapshot {
  readonly totals: VhostStats['totals']
  readonly staleGraphs: number
  /** Milliseconds between two samples of `series`. */
  readonly interval: number
  readonly rows: readonly BoardRow[]
  /** Requests in a second at each sample, the last one last, by the hostname that a row begins with. */
  readonly series: Readonly<Record<string, readonly number[]>>
  readonly deploys: readonly Deploy[]
}

/** What has become different since. */
export interface BoardChange {
  readonly totals: VhostStats['totals']
  readonly staleGraphs: number
  /** Whether a sample ends with it, so that each series goes on by the rate of its row. */
  readonly isSample: boolean
  readonly rows: readonly BoardRow[]
  /** The ids of rows that are no more. */
  readonly gone: readonly string[]
  readonly deploys: readonly Deploy[]
}

export const SAMPLE_INTERVAL: number = 2000
/** Five minutes. */
export const MAX_SAMPLES = 150
const MAX_DEPLOYS = 200
const MAX_EVICTED = 200
const REPLACED: readonly EvictReason[] = ['changed', 'moved', 'reloaded']

interface Count {
  readonly requests: number
  readonly rate: number
  readonly name: string
}

/** What the page shows, made of the stats and events of a router alone. */
export class Board {
  /** The last ones, the latest last. */
  readonly deploys: Deploy[] = []
  /** Told after each event. */
  onDeploy: () => void = () => {}
  readonly #vhosts: Pick<VhostRouter, 'stats' | 'on'>
  readonly #evicted = new Map<string, BoardRow>()
  readonly #series = new Map<string, number[]>()
  /** Of each row that was seen at the last sample: how many requests it had, and the rate since the one before. */
  #counts = new Map<string, Count>()
  #sampledAt: number | undefined
  #deployId = 0

  constructor(vhosts: Pick<VhostRouter, 'stats' | 'on'>) {
    this.#vhosts = vhosts
    for (const event of ['load', 'reload', 'evict'] as const) {
      vhosts.on(event, about => this.#note(event, about))
    }
    // As a listener of errors it would take the place of stderr.
    vhosts.on(EventEmitter.errorMonitor, about => this.#note('error', about))
  }

  get figures(): Pick<VhostStats, 'totals' | 'staleGraphs' | 'isClosed'> {
    return this.#vhosts.stats()
  }

  snapshot(): BoardSnapshot {
    const stats = this.#vhosts.stats()
    return {
      totals: stats.totals,
      staleGraphs: stats.staleGraphs,
      interval: SAMPLE_INTERVAL,
      rows: this.rowsOf(stats),
      series: Object.fromEntries([...this.#series].filter(([, rates]) => rates.some(rate => rate > 0))),
      deploys: this.deploys,
    }
  }

  rowsOf(stats: VhostStats = this.#vhosts.stats()): BoardRow[] {
    const ids = new Set<string>()
    const rows = stats.vhosts.map(app => {
      const id = unique(`${app.realPath} ${app.loadedAt ?? app.state}`, ids)
      const since = app.lastError?.since ?? app.loadedAt
      return { ...app, id, since, reason: null, rate: this.#counts.get(id)?.rate ?? 0 }
    })
    const shown = new Set(rows.flatMap(({ hostnames }) => hostnames))
    for (const [name] of this.#evicted) if (shown.has(name)) this.#evicted.delete(name)
    return [...rows, ...this.#evicted.values()]
  }

  /** Counts what was asked for since the last sample. */
  sample(): void {
    const now = performance.now()
    const seconds = (now - (this.#sampledAt ?? now)) / 1000
    const isFirst = this.#sampledAt === undefined
    const rates = new Map<string, number>()
    const counts = new Map<string, Count>()
    for (const { id, requests, hostnames } of this.rowsOf()) {
      const before = this.#counts.get(id)
      // What drains belongs to the name that led to it.
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
      this.#series.set(name, [...(this.#series.get(name) ?? []), rate].slice(-MAX_SAMPLES))
    }
  }

  /** Nobody has looked for so long that what was counted is of no use. */
  forget(): void {
    this.#sampledAt = undefined
    this.#counts.clear()
    this.#series.clear()
  }

  #note<E extends Deploy['event']>(event: E, about: VhostEvents[E]): void {
    const { hostnames, realPath, version } = about
    const { durationMs = null, reason = null } = about as Partial<VhostEvents['load'] & VhostEvents['evict']>
    const { error, serving } = about as Partial<VhostEvents['error']>
    this.deploys.push({
      id: ++this.#deployId,
      time: new Date().toISOString(),
      event,
      hostnames,
      realPath,
      version: plainVersion(version),
      durationMs,
      reason,
      message: error?.message ?? null,
      cause: error ? causeOf(error.cause) : null,
      stack: error ? stackOf(error.cause) : null,
      serving: serving?.realPath ?? null,
    })
    if (this.deploys.length > MAX_DEPLOYS) this.deploys.shift()
    if (reason && !REPLACED.includes(reason)) this.#noteEvicted(hostnames, realPath, reason)
    this.onDeploy()
  }

  #noteEvicted(hostnames: readonly string[], realPath: string, reason: EvictReason): void {
    const [name] = hostnames
    if (name === undefined) return
    const since = new Date().toISOString()
    this.#evicted.delete(name)
    this.#evicted.set(name, { ...NOTHING, id: `evicted ${name}`, hostnames, realPath, since, reason })
    const [oldest] = this.#evicted.keys()
    if (this.#evicted.size > MAX_EVICTED) this.#evicted.delete(oldest as string)
  }
}

const NOTHING = {
  version: null,
  isolation: null,
  state: 'evicted',
  requests: 0,
  inFlight: 0,
  errors: 0,
  loadDurationMs: null,
  loadedAt: null,
  pid: null,
  threadId: null,
  memory: null,
  cpu: null,
  restarts: 0,
  lastExit: null,
  lastError: null,
  rate: 0,
} as const

// Two generations of one path may have been loaded within a millisecond.
function unique(id: string, ids: Set<string>): string {
  let candidate = id
  for (let i = 2; ids.has(candidate); i++) candidate = `${id} ${i}`
  ids.add(candidate)
  return candidate
}
