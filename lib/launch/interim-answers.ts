import type { ServerResponse } from 'node:http'
import { withoutFrames } from '../errors.ts'
import { linksOf, mayTrail } from './forward-headers.ts'

/** A thousand are enough for one request, and nothing else slows down an app that sends them. */
const MOST = 1000

/** The interim answers to one request so far. */
export class InterimAnswers {
  #count = 0

  /** Counts one. Returns an error if it is one too many. */
  note(): Error | undefined {
    if (++this.#count <= MOST) return undefined
    return withoutFrames(new Error(`more than ${MOST} interim answers`))
  }
}

/** Older releases of Node lack it. */
type Informing = ServerResponse & { writeInformation?(status: number, headers: readonly string[]): void }

/**
 * Passes an interim answer on as the app wrote it (RFC 9110 §15.2), but for 100, which the router's own server has given.
 * With HTTP/2, Node writes only early hints.
 */
export function passInterim(res: Informing, status: number, rawHeaders: readonly string[]): void {
  if (status === 103) {
    const link = linksOf(rawHeaders)
    if (link.length > 0) res.writeEarlyHints({ ...hintsBesideLinks(rawHeaders), link })
  } else if (status > 100 && res.req.httpVersionMajor < 2) {
    if (res.writeInformation) res.writeInformation(status, pairsOf(rawHeaders).flat())
    else if (status === 102) res.writeProcessing()
  }
}

function hintsBesideLinks(rawHeaders: readonly string[]): Record<string, string> {
  const hints = new Map<string, string>()
  for (const [name, value] of pairsOf(rawHeaders)) {
    const lower = name.toLowerCase()
    const before = hints.get(lower)
    if (lower !== 'link') hints.set(lower, before === undefined ? value : `${before}, ${value}`)
  }
  return Object.fromEntries(hints)
}

/** The headers that are not of one connection alone. */
function pairsOf(rawHeaders: readonly string[]): [name: string, value: string][] {
  return rawHeaders
    .flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, rawHeaders[at + 1] as string]] : []))
    .filter(([name]) => mayTrail(name))
}
