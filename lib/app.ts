import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { EvictReason } from './events.ts'
import type { Launched, Next } from './launch/launch.ts'
import type { Release } from './release.ts'
import { bytesWritten, closeWebSocket } from './websocket-close.ts'

/** How long an app's own `close()` may take before it is left to itself. */
const CLOSE_TIMEOUT = 10 * 1000
const MAX_USES = 15

/** A loaded release: its handler, its requests in flight, its end. */
export class App {
  readonly release: Release
  /** The hostname that it was loaded for first; one that others may share. */
  readonly name: string
  readonly loadDurationMs: number
  readonly loadedAt: Date = new Date()
  requests = 0
  errors = 0
  /** Requests that wait to be handed over; an app that has any is no victim. */
  waiting = 0
  /** Called each time the last request in flight has ended. */
  onIdle: (() => void) | undefined
  #predecessor: Promise<void> | undefined
  #aged = 0
  readonly #launched: Launched
  readonly #flights = new Set<Flight>()
  #isRetired = false
  #isDraining = false

  constructor(release: Release, name: string, launched: Launched, loadDurationMs: number) {
    this.release = release
    this.name = name
    this.loadDurationMs = loadDurationMs
    this.#launched = launched
  }

  /** Settles when the app that this one replaced has ended; undefined once it has. */
  get predecessor(): Promise<void> | undefined {
    return this.#predecessor
  }

  /** Takes the place of an app that ends when the promise settles. */
  succeed(ended: Promise<void>): void {
    this.#predecessor = ended.finally(() => {
      this.#predecessor = undefined
    })
  }

  /** How often it was asked for lately, up to what tells a site in use from one that was looked at. */
  get uses(): number {
    return Math.min(this.requests - this.#aged, MAX_USES)
  }

  /** Halves `uses`. */
  age(): void {
    this.#aged = this.requests - Math.floor(this.uses / 2)
  }

  /** Requests and upgraded sockets that have not ended. */
  get inFlight(): number {
    return this.#flights.size
  }

  get isBusy(): boolean {
    return this.#flights.size > 0 || this.waiting > 0
  }

  get isRetired(): boolean {
    return this.#isRetired
  }

  get takesUpgrades(): boolean {
    return this.#launched.upgrade !== undefined
  }

  get environmentWrites(): readonly string[] {
    return this.#launched.environmentWrites
  }

  get isKeptByNode(): boolean {
    return this.#launched.isKeptByNode
  }

  handle(req: IncomingMessage, res: ServerResponse, next: Next): void {
    // One object and two closures a request: what counts it in flight.
    const flight = new Flight(
      this,
      this.#flights,
      req,
      res,
      req.httpVersionMajor < 2 ? req.socket : undefined,
      next,
    )
    res.once('close', flight.end)
    try {
      const returned = this.#launched.handle(req, res, flight.next)
      if (returned !== undefined) caught(returned, flight)
    } catch (error) {
      flight.next(error)
    }
  }

  /** Only where the app takes upgrades. `failed` is told what the app's listener threw. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, failed: (error: unknown) => void): void {
    const flight = new Flight(this, this.#flights, req, undefined, socket, failed)
    try {
      caught(this.#launched.upgrade?.(req, socket, head), flight)
    } catch (error) {
      flight.next(error)
    }
  }

  /**
   * Takes no new requests; lets those in flight end within `drainTimeout` milliseconds, cuts what is left, and
   * disposes. Rejects with what the app's own hook threw, when all is over.
   */
  async retire(reason: EvictReason, drainTimeout: number): Promise<void> {
    this.#isRetired = true
    if (this.#flights.size > 0) await this.#drained(drainTimeout)
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<never>((_, reject) => {
      const late = new Error(`close() of the app took longer than ${CLOSE_TIMEOUT} ms`)
      timer = setTimeout(reject, CLOSE_TIMEOUT, late)
    })
    try {
      await Promise.race([this.#launched.dispose(reason), tooLong])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Has what is left cut after so many milliseconds, where that is sooner. */
  hasten(drainTimeout: number): void {
    if (this.#isDraining) setTimeout(() => this.#cut(), drainTimeout).unref()
  }

  async #drained(drainTimeout: number): Promise<void> {
    this.#isDraining = true
    const timer = setTimeout(() => this.#cut(), drainTimeout).unref()
    await new Promise<void>(resolve => {
      this.onIdle = resolve
    })
    clearTimeout(timer)
    this.onIdle = undefined
    this.#isDraining = false
  }

  #cut(): void {
    for (const flight of this.#flights) flight.cut()
  }
}

// An async handler that rejects is an error like any other, as in Express 5.
function caught(returned: unknown, flight: Flight): void {
  const promise = returned as PromiseLike<unknown> | undefined | null
  if (typeof promise?.then === 'function') promise.then(undefined, flight.next)
}

/** The flights on each socket. Where a client goes away, queued responses never say so on Node 20 and 22. */
const FLIGHTS = Symbol('flights')

interface FlightSocket extends Duplex {
  [FLIGHTS]?: Set<Flight>
}

/**
 * One request or upgraded socket. It ends at the first of: `next` was called, the response closed, the socket closed.
 */
class Flight {
  readonly #app: App
  readonly #all: Set<Flight>
  readonly #req: IncomingMessage
  readonly #res: ServerResponse | undefined
  readonly #reqPrototype: object
  readonly #resPrototype: object | undefined
  readonly #socket: FlightSocket | undefined
  readonly #next: Next
  readonly #writtenBefore: number

  /** `socket` is undefined for HTTP/2, where it is a stand-in and the response says all. */
  constructor(
    app: App,
    all: Set<Flight>,
    req: IncomingMessage,
    res: ServerResponse | undefined,
    socket: Duplex | undefined,
    next: Next,
  ) {
    this.#app = app
    this.#all = all
    this.#req = req
    this.#res = res
    this.#reqPrototype = Object.getPrototypeOf(req)
    this.#resPrototype = res && Object.getPrototypeOf(res)
    this.#socket = socket
    this.#next = next
    this.#writtenBefore = !res && socket ? bytesWritten(socket) : 0
    app.requests++
    all.add(this)
    // Who went away while the app was loaded says so no more.
    if (socket?.destroyed) this.end()
    else if (socket) flightsOn(socket).add(this)
  }

  readonly end = (): void => {
    if (!this.#all.delete(this)) return
    this.#socket?.[FLIGHTS]?.delete(this)
    if (this.#all.size === 0) this.#app.onIdle?.()
  }

  readonly next = (error?: unknown): void => {
    this.end()
    this.#restorePrototypes()
    if (error !== undefined && error !== null && error !== 'route' && error !== 'router') this.#app.errors++
    this.#next(error)
  }

  cut(): void {
    if (this.#socket && !this.#res) closeWebSocket(this.#socket, this.#writtenBefore)
    else (this.#socket ?? this.#req).destroy()
    this.end()
  }

  // An Express app makes req and res its own; whoever comes next is to have them as they were.
  #restorePrototypes(): void {
    if (Object.getPrototypeOf(this.#req) !== this.#reqPrototype) {
      Object.setPrototypeOf(this.#req, this.#reqPrototype)
    }
    if (this.#resPrototype && Object.getPrototypeOf(this.#res) !== this.#resPrototype) {
      Object.setPrototypeOf(this.#res, this.#resPrototype)
    }
  }
}

function flightsOn(socket: FlightSocket): Set<Flight> {
  const known = socket[FLIGHTS]
  if (known) return known
  const flights = new Set<Flight>()
  socket[FLIGHTS] = flights
  socket.once('close', () => {
    for (const flight of flights) flight.end()
  })
  return flights
}
