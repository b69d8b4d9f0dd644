import { printable } from '../values/printable.ts'

/** The events that a router emits. */
export const EVENTS = ['load', 'reload', 'evict', 'error'] as const

/** The media type of a series of events: one JSON object per line. */
export const LINES = 'application/x-ndjson'

/** An event as it went through JSON. */
export interface ToldEvent {
  readonly time: string
  readonly event: string
  readonly hostnames: readonly string[]
  readonly realPath: string
  readonly durationMs?: number
  readonly reason?: string
  readonly cut?: number
  readonly error?: {
    readonly message: string
    readonly cause?: string | null
    readonly place?: string | null
  }
  readonly serving?: { readonly realPath: string }
}

/** One line for people. */
export function eventLine(about: ToldEvent): string {
  const names = about.hostnames.join(' ') || '-'
  return printable(
    `${about.time} ${about.event.padEnd(6)} ${names}  ${detailsOf(about)}`.replaceAll('\n', ' '),
  )
}

function detailsOf({ hostnames, realPath, durationMs, reason, cut, error, serving }: ToldEvent): string {
  if (error) {
    const message = withoutName(error.message, hostnames)
    const why = error.cause ? `${message}: ${error.cause}` : message
    const where = error.place ? `, at ${error.place}` : ''
    return `${why}${where} (${serving ? `${serving.realPath} serves on` : 'nothing serves'})`
  }
  if (reason !== undefined) return `${reason}${cut ? `, requests cut: ${cut}` : ''}  ${realPath}`
  return `${Math.round(durationMs ?? 0)} ms  ${realPath}`
}

/** The line has named the host already. */
function withoutName(message: string, hostnames: readonly string[]): string {
  const named = hostnames.find(hostname => message.startsWith(`${hostname}: `))
  return named === undefined ? message : message.slice(named.length + 2)
}
