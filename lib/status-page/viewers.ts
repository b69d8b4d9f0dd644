import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from 'node:net'
import { isClientGone } from '../launch/client-gone.ts'
import { toPlain } from '../values/plain.ts'
import {
  type Board,
  type BoardChange,
  type BoardLook,
  type BoardRow,
  type BoardSnapshot,
  MAX_SAMPLES,
  SAMPLE_INTERVAL,
} from './board.ts'

/** How many pages may be open at once. */
const MAX_VIEWERS = 50
/** How long a stream lasts, in milliseconds; then the browser asks again and is authorized again. */
const LIFETIME = 15 * 60 * 1000
/** How long an ending stream may take to send what waits, in milliseconds. */
const MOST_END = 5000
/** Bytes that may wait to be sent. A slower reader gets later what has changed until then. */
const MAX_WAITING = 2 ** 20
/** In milliseconds: changes that come in a burst are sent together. */
const SETTLE = 20
/** Sending changes takes at most one part in this many of the time, however many there are. */
const REST = 20

/** What a viewer who has read everything knows. Viewers who know the same share one object. */
interface Known {
  readonly look: BoardLook
  readonly samples: number
  readonly lastDeploy: number
}

interface Viewer {
  readonly res: ServerResponse
  readonly end: number
  /** Undefined if it is not known whether it takes connections. */
  readonly server: Server | undefined
  known: Known
}

/** The open pages, each sent changes as server-sent events. Without any, nothing is done. */
export class Viewers {
  readonly #board: Board
  readonly #viewers = new Set<Viewer>()
  /** Tells a page that another server has replaced this one. */
  readonly #id = randomUUID()
  /** What was sent last. */
  #told: BoardLook | undefined
  /** How many samples have been sent. */
  #samples = 0
  /** What a new viewer is sent: made once and shared in memory, however many come before there is more to send. */
  #snapshot: { readonly bytes: Buffer; readonly known: Known } | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined
  #idleSamples = 0
  /** How many milliseconds the last sending took. */
  #cost = 0

  constructor(board: Board) {
    this.#board = board
    board.onDeploy = () => {
      if (this.#viewers.size === 0) return
      this.#soon ??= setTimeout(() => this.#tell(false), Math.max(SETTLE, this.#cost * REST)).unref()
    }
  }

  add(req: IncomingMessage, res: ServerResponse): void {
    if (this.#viewers.size >= MAX_VIEWERS) {
      res.writeHead(503, { 'Retry-After': '10', 'Content-Length': 0 }).end()
      return
    }
    // Events that a proxy held back, or a middleware that compresses, would come too late.
    res.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
    })
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    // The client left while it was being authorized: `close` would never come.
    if (isClientGone(req, res)) return
    res.flushHeaders()
    if (this.#viewers.size === 0) this.#begin()
    const { bytes, known } = this.#snapshotNow()
    const viewer = { res, end: performance.now() + LIFETIME, server: listenerOf(req), known }
    this.#viewers.add(viewer)
    res.write(bytes)
    res.once('close', () => this.#viewers.delete(viewer))
  }

  #begin(): void {
    this.#idleSamples = 0
    this.#remember(this.#board.look({ isSample: !this.#timer }))
    this.#timer ??= setInterval(() => this.#sample(), SAMPLE_INTERVAL).unref()
  }

  #sample(): void {
    if (this.#viewers.size > 0) {
      this.#tell(true)
      return
    }
    this.#remember(undefined)
    if (++this.#idleSamples >= MAX_SAMPLES) this.#rest()
    else this.#board.look({ isSample: true })
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#board.forget()
  }

  #remember(look: BoardLook | undefined): void {
    this.#told = look
    this.#snapshot = undefined
  }

  #tell(isSample: boolean): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    const start = performance.now()
    const look = this.#board.look({ isSample })
    if (isSample) this.#samples++
    this.#remember(look)
    const now = this.#known(look)
    const changes = new Map<Known, Buffer>()
    for (const viewer of this.#viewers) {
      // A server that listens no more waits until its answers have ended.
      const isLast = look.isClosed || viewer.server?.listening === false
      if (isLast || start > viewer.end) this.#end(viewer)
      else if (viewer.res.writableLength <= MAX_WAITING) this.#sendChange(viewer, now, changes)
    }
    this.#cost = performance.now() - start
  }

  #end(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    const { res } = viewer
    res.end()
    // A viewer that does not read would stay, without counting any more.
    const timer = setTimeout(() => res.destroy(), MOST_END).unref()
    res.once('close', () => clearTimeout(timer))
  }

  #snapshotNow(): { bytes: Buffer; known: Known } {
    const look = this.#told as BoardLook
    this.#snapshot ??= {
      bytes: toEvent('snapshot', this.#board.snapshot(look), this.#id),
      known: this.#known(look),
    }
    return this.#snapshot
  }

  #known(look: BoardLook): Known {
    return { look, samples: this.#samples, lastDeploy: this.#board.deploys.at(-1)?.id ?? 0 }
  }

  /** `changes` holds what has been sent to others who knew as much. */
  #sendChange(viewer: Viewer, now: Known, changes: Map<Known, Buffer>): void {
    const { known } = viewer
    let change = changes.get(known)
    if (!change) {
      const deploys = this.#board.deploys.filter(({ id }) => id > known.lastDeploy)
      change = toEvent('change', { ...changeOf(known, now), deploys })
      changes.set(known, change)
    }
    viewer.known = now
    viewer.res.write(change)
  }
}

/** The server that a request came through; undefined if it does not listen itself but is given its connections. */
function listenerOf({ socket }: IncomingMessage): Server | undefined {
  const server = (socket as { server?: Server } | undefined)?.server
  return server?.listening ? server : undefined
}

function toEvent(event: string, data: BoardSnapshot | BoardChange, id?: string): Buffer {
  return Buffer.from(`${id ? `id: ${id}\n` : ''}event: ${event}\ndata: ${toJson(data)}\n\n`)
}

function changeOf(before: Known, now: Known): Omit<BoardChange, 'deploys'> {
  const { totals, staleGraphs, rows } = now.look
  const known = byId(before.look.rows)
  const present = byId(rows)
  return {
    totals,
    staleGraphs,
    samples: now.samples - before.samples,
    rows: rows.flatMap(row => differenceOf(row, known.get(row.id)) ?? []),
    gone: [...known.keys()].filter(id => !present.has(id)),
  }
}

function byId(rows: readonly BoardRow[]): Map<string, BoardRow> {
  return new Map(rows.map(row => [row.id, row]))
}

/** The fields of a row that have changed; undefined if none has. */
function differenceOf(row: BoardRow, before: BoardRow | undefined): BoardChange['rows'][number] | undefined {
  if (!before) return row
  const different = Object.entries(row).filter(
    ([key, value]) => !isSame(value, before[key as keyof BoardRow]),
  )
  return different.length === 0 ? undefined : { ...Object.fromEntries(different), id: row.id }
}

function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true
  return typeof one === 'object' && typeof other === 'object' && toJson(one) === toJson(other)
}

function toJson(value: unknown): string {
  return JSON.stringify(value, toPlain)
}
