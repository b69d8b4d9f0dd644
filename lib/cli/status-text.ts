import type { AppStats, VhostState, VhostStats } from '../stats.ts'
import { printableEntry } from '../values/printable.ts'
import { placeOf } from '../values/thrown.ts'
import { formatTable } from './table.ts'
import { withCause } from './with-cause.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

const HEAD = [
  ...['HOST', 'STATE', 'SINCE', 'RELEASE', 'REQUESTS', 'IN FLIGHT', 'ERRORS'],
  ...['LOAD', 'MEMORY', 'CPU', 'RESTARTS', 'ISOLATION'],
]
/** The columns that a narrow terminal drops, in this order. */
const SPARE = ['RESTARTS', 'ISOLATION', 'CPU', 'LOAD', 'MEMORY', 'IN FLIGHT', 'ERRORS', 'REQUESTS']
/** What is broken comes first. */
const STATES: readonly VhostState[] = ['failed', 'serving older', 'loading', 'draining', 'serving']

/** What a running server has loaded, for a terminal of this width: a table, why parts of it are broken, and totals. */
export function statusText({ vhosts, totals }: VhostStats, width: number | undefined): string {
  const apps = [...vhosts].sort(
    (one, other) => rankOf(one) - rankOf(other) || compare(nameOf(one), nameOf(other)),
  )
  const errors = apps.flatMap(app => (app.lastError ? [errorText(app, app.lastError)] : []))
  const exits = apps.flatMap(app =>
    app.lastExit ? [`${nameOf(app)}: ${app.lastExit.at}: ${app.lastExit.how}`] : [],
  )
  return [
    formatTable(HEAD, apps.map(rowOf), { width, spare: SPARE }),
    ...[...errors, ...exits].map(printableEntry),
    totalsText(totals),
  ].join('\n')
}

function errorText(app: AppStats, error: NonNullable<AppStats['lastError']>): string {
  const place = placeOf(error, app.realPath)
  return withCause(nameOf(app), error) + (place ? `, at ${place}` : '')
}

function totalsText({ apps, draining, failed, hostnames, requests }: VhostStats['totals']): string {
  return [
    counted(apps, 'app'),
    `${draining} draining`,
    `${failed} failed`,
    counted(hostnames, 'hostname'),
    counted(requests, 'request'),
  ].join(', ')
}

function rowOf(app: AppStats): (string | number)[] {
  const more = app.hostnames.length - 1
  const since = app.lastError?.since ?? app.loadedAt
  return [
    more > 0 ? `${nameOf(app)} +${more}` : nameOf(app),
    app.state,
    since ? ageOf(since) : '-',
    app.realPath,
    app.requests,
    app.inFlight,
    app.errors,
    app.loadDurationMs === null ? '-' : `${Math.round(app.loadDurationMs)} ms`,
    app.memory === null ? '-' : `${Math.round(app.memory / 2 ** 20)} MiB`,
    app.cpu === null ? '-' : `${Math.round(app.cpu / SECOND)} s`,
    app.restarts,
    app.isolation ?? '-',
  ]
}

function nameOf({ hostnames: [first = '-'] }: AppStats): string {
  return first
}

function ageOf(iso: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(iso)) / MINUTE)
  if (minutes < 1) return '< 1 min'
  if (minutes < 60) return `${minutes} min`
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60 / 24)} d`
}

function rankOf({ state }: AppStats): number {
  return STATES.indexOf(state)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}
