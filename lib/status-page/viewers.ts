import type { IncomingMessage, ServerResponse } from 'node:http'
import { isClientGone } from '../launch/client-gone.ts'
import { toPlain } from '../plain.ts'
import {
  type Board,
  type BoardChange,
  type BoardLook,
  type BoardRow,
  MAX_SAMPLES,
  SAMPLE_INTERVAL,
} from './board.ts'

/** So many pages may be open at once. */
const MAX_VIEWERS = 50
/** After it the browser asks again, and is authorized again. */
const LIFETIME = 15 * 60 * 1000
/** For what waits to be sent at the end. */
const MOST_END = 5000
/** Bytes that wait to be sent; who reads no faster is given a whole snapshot later. */
const MAX_WAITING = 2 ** 20
/** Changes that come in a burst are told together. */
const SETTLE = 20
/** To tell of them costs a fraction of the time at most, this one's inverse, however many there are. */
const REST = 20

interface Viewer {
  readonly res: ServerResponse
  readonly end: number
  isBehind: boolean
  lastDeploy: number
}

/** The pages that are open, each told of changes as server-sent events. Without any, nothing is done. */
export class Viewers {
  readonly #board: Board
  readonly #viewers = new Set<Viewer>()
  /** The rows as they were last told, by id. */
  #told: ReadonlyMap<string, BoardRow> = new Map()
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined
  #idleSamples = 0
  /** Milliseconds that it took to tell last. */
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
    // What a proxy would hold back comes too late.
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    // Gone while it was authorized: no `close` would come any more.
    if (isClientGone(req, res)) return
    res.flushHeaders()
    // Those who look already know less than what is remembered as told: they hear of it first.
    if (this.#viewers.size > 0) this.#tell(false)
    else this.#begin()
    const viewer = { res, end: performance.now() + LIFETIME, isBehind: true, lastDeploy: 0 }
    this.#viewers.add(viewer)
    this.#sendSnapshot(viewer)
    res.once('close', () => this.#viewers.delete(viewer))
  }

  #begin(): void {
    this.#idleSamples = 0
    this.#told = byId(this.#board.look({ isSample: !this.#timer }))
    this.#timer ??= setInterval(() => this.#sample(), SAMPLE_INTERVAL).unref()
  }

  #sample(): void {
    if (this.#viewers.size > 0) this.#tell(true)
    else if (++this.#idleSamples >= MAX_SAMPLES) this.#rest()
    else this.#board.look({ isSample: true })
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#told = new Map()
    this.#board.forget()
  }

  #tell(isSample: boolean): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    const start = performance.now()
    const look = this.#board.look({ isSample })
    const change = this.#change(look, isSample)
    for (const viewer of this.#viewers) {
      if (look.isClosed || start > viewer.end) this.#end(viewer)
      else if (viewer.res.writableLength > MAX_WAITING) viewer.isBehind = true
      else if (viewer.isBehind) this.#sendSnapshot(viewer)
      else this.#sendChange(viewer, change)
    }
    this.#cost = performance.now() - start
  }

  #end(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    const { res } = viewer
    res.end()
    // Who does not read would stay, and count no more.
    const timer = setTimeout(() => res.destroy(), MOST_END).unref()
    res.once('close', () => clearTimeout(timer))
  }

  #change(look: BoardLook, isSample: boolean): Omit<BoardChange, 'deploys'> {
    const { totals, staleGraphs, rows } = look
    const before = this.#told
    const told = byId(look)
    this.#told = told
    return {
      totals,
      staleGraphs,
      isSample,
      rows: rows.flatMap(row => differenceOf(row, before.get(row.id)) ?? []),
      gone: [...before.keys()].filter(id => !told.has(id)),
    }
  }

  #sendSnapshot(viewer: Viewer): void {
    viewer.isBehind = false
    viewer.lastDeploy = this.#board.deploys.at(-1)?.id ?? 0
    send(viewer, 'snapshot', this.#board.snapshot())
  }

  #sendChange(viewer: Viewer, change: Omit<BoardChange, 'deploys'>): void {
    const deploys = this.#board.deploys.filter(({ id }) => id > viewer.lastDeploy)
    viewer.lastDeploy = deploys.at(-1)?.id ?? viewer.lastDeploy
    send(viewer, 'change', { ...change, deploys })
  }
}

function byId({ rows }: BoardLook): Map<string, BoardRow> {
  return new Map(rows.map(row => [row.id, row]))
}

/** What of a row is not as it was; nothing where all is. */
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

function send({ res }: Viewer, event: string, data: object): void {
  res.write(`event: ${event}\ndata: ${toJson(data)}\n\n`)
}

function toJson(value: unknown): string {
  return JSON.stringify(value, toPlain)
}
