type BoardRow = import('express-van/status-page').BoardRow
type BoardSnapshot = import('express-van/status-page').BoardSnapshot
type BoardChange = import('express-van/status-page').BoardChange
type Deploy = import('express-van/status-page').Deploy

function nameOf({ hostnames, realPath }: BoardRow): string {
  return hostnames[0] ?? realPath
}

/** A row's first name, and how many more lead to the same app. */
function shortNameOf(row: BoardRow): string {
  const more = row.hostnames.length - 1
  return more > 0 ? `${nameOf(row)} +${more}` : nameOf(row)
}

function stateOf({ state, lastError, reason }: BoardRow): string {
  const why = lastError && (lastError.cause ?? lastError.message)
  if (state === 'serving older' && why) return `${state}: refused: ${why}`
  if (state === 'failed' && why) return `${state}: ${why}`
  return state === 'evicted' ? `${state}: ${reason}` : state
}

/** What tells releases apart: the end of the path, without a folder that is named for the vhost. */
function releaseOf({ realPath, hostnames }: BoardRow): string {
  const [folder = '', last = ''] = realPath.split(/[\\/]/).slice(-2)
  return hostnames.includes(folder) || hostnames.includes(last) ? last : `${folder}/${last}`
}

function timeOf(iso: string | null): string {
  return iso === null ? '-' : iso.slice(0, 19).replace('T', ' ')
}

/** How far the server's clock is ahead of this one, in milliseconds. */
let clockOffset = 0

function setClock(iso: string): void {
  clockOffset = Date.parse(iso) - Date.now()
}

function ageOf(iso: string | null): string {
  if (iso === null) return '-'
  const minutes = (Date.now() + clockOffset - Date.parse(iso)) / 60_000
  if (minutes < 1) return '< 1 min'
  if (minutes < 60) return `${Math.floor(minutes)} min`
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60 / 24)} d`
}

const digits = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

function unit(value: number | null, divisor: number, name: string): string {
  return value === null ? '-' : `${digits.format(value / divisor)} ${name}`
}

function bytesOf(value: number | null): string {
  const isLarge = value !== null && value >= 10 * 2 ** 30
  return isLarge ? `${(value / 2 ** 30).toFixed(1)} GiB` : unit(value, 2 ** 20, 'MiB')
}

function rateOf(rate: number): string {
  return rate === 0 ? '0' : `${rate.toFixed(1)}/s`
}
