import type { IncomingMessage, ServerResponse } from 'node:http'
import { toPlain } from '../plain.ts'
import { type Board, type BoardChange, MAX_SAMPLES, SAMPLE_INTERVAL } from './board.ts'

/** So many pages may be open at once. */
const MAX_VIEWERS = 50
/** After it the browser asks again, and is authorized again. */
const LIFETIME = 15 * 60 * 1000
/** Bytes that wait to be sent; who reads no faster is given a whole snapshot later. */
const MAX_WAITING = 2 ** 20
/** Changes that come in a burst are told together. */
const SETTLE = 20

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
  /** What the rows were when they were last told, as JSON, by id. */
  #told = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined
  #idleSamples = 0

  constructor(board: Board) {
    this.#board = board
    board.onDeploy = () => {
      if (this.#viewers.size > 0) this.#soon ??= setTimeout(() => this.#tell(false), SETTLE).unref()
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
    if (res.destroyed) return
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
    this.#told = new Map(this.#board.rowsOf().map(row => [row.id, toJson(row)]))
    if (this.#timer) return
    this.#board.sample()
    this.#timer = setInterval(() => this.#sample(), SAMPLE_INTERVAL).unref()
  }

  #sample(): void {
    this.#board.sample()
    if (this.#viewers.size > 0) this.#tell(true)
    else if (++this.#idleSamples >= MAX_SAMPLES) this.#rest()
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#told.clear()
    this.#board.forget()
  }

  #tell(isSample: boolean): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    const { isClosed } = this.#board.figures
    const change = this.#change(isSample)
    for (const viewer of this.#viewers) {
      if (isClosed || performance.now() > viewer.end) this.#end(viewer)
      else if (viewer.res.writableLength > MAX_WAITING) viewer.isBehind = true
      else if (viewer.isBehind) this.#sendSnapshot(viewer)
      else this.#sendChange(viewer, change)
    }
  }

  #end(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    viewer.res.end()
  }

  #change(isSample: boolean): Omit<BoardChange, 'deploys'> {
    const { totals, staleGraphs } = this.#board.figures
    const rows = this.#board.rowsOf()
    const told = new Map(rows.map(row => [row.id, toJson(row)]))
    const before = this.#told
    this.#told = told
    return {
      totals,
      staleGraphs,
      isSample,
      rows: rows.filter(({ id }) => before.get(id) !== told.get(id)),
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

function send({ res }: Viewer, event: string, data: object): void {
  res.write(`event: ${event}\ndata: ${toJson(data)}\n\n`)
}

function toJson(value: unknown): string {
  return JSON.stringify(value, toPlain)
}
