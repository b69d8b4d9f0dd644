import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Chain } from './chain.ts'
import type { VhostError } from './errors.ts'
import type { EvictReason } from './events.ts'
import { appAround } from './express-app.ts'
import { Flight } from './flight.ts'
import {
  CLOSE_TIMEOUT,
  type Handle,
  type Launched,
  type Next,
  type UpstreamFigures,
} from './launch/launch.ts'
import type { Isolation } from './options.ts'
import { passRejection } from './rejection.ts'
import type { Release } from './release.ts'
import type { Used } from './uses.ts'
import { within } from './within.ts'

const MAX_USES = 15
/** No request has come yet: the app may have been one before, and know another. */
const UNKNOWN = Symbol('unknown')

/** A loaded release: its handler, its requests in flight, its end. */
export class App implements Used {
  // What each request reads and writes lies side by side.
  usedAt = 0
  requests = 0
  /** Requests and upgraded sockets that have not ended. */
  inFlight = 0
  /** Called each time the last request in flight has ended. */
  onIdle: (() => void) | undefined
  readonly #handle: Handle
  /** The Express app that the last request came through. */
  #around: unknown = UNKNOWN
  readonly #flights: Chain<Flight>
  readonly release: Release
  /** The hostname that it was loaded for first; one that others may share. */
  readonly name: string
  readonly loadDurationMs: number
  errors = 0
  /** Requests that had not ended when the time to drain was over; upgraded sockets, which live on by nature, are none. */
  cut = 0
  /** Requests that wait to be handed over; an app with one is no victim. */
  waiting = 0
  #predecessor: Promise<void> | undefined
  #aged = 0
  readonly #loadedAt = Date.now()
  readonly #launched: Launched
  #isRetired = false
  #isDraining = false

  /** `flights` are those of all apps beside it. */
  constructor(
    release: Release,
    name: string,
    launched: Launched,
    loadDurationMs: number,
    flights: Chain<Flight>,
  ) {
    this.release = release
    this.name = name
    this.loadDurationMs = loadDurationMs
    this.#launched = launched
    this.#handle = launched.handle
    this.#flights = flights
    launched.watch?.(() => this.inFlight > 0)
  }

  get loadedAt(): Date {
    return new Date(this.#loadedAt)
  }

  /** Settles when what this one took the place of has ended; undefined once it has. */
  get predecessor(): Promise<void> | undefined {
    return this.#predecessor
  }

  /** Takes the place of an app that ends when the promise settles; it may take that of several. */
  succeed(ended: Promise<void>): void {
    const all = Promise.all([this.#predecessor, ended]).then(() => {
      if (this.#predecessor === all) this.#predecessor = undefined
    })
    this.#predecessor = all
  }

  /** How often it was asked for lately, up to what tells a site in use from one that was looked at. */
  get uses(): number {
    return Math.min(this.requests - this.#aged, MAX_USES)
  }

  /** Halves `uses`. */
  age(): void {
    this.#aged = this.requests - Math.floor(this.uses / 2)
  }

  get isBusy(): boolean {
    return this.inFlight > 0 || this.waiting > 0
  }

  get isRetired(): boolean {
    return this.#isRetired
  }

  get takesUpgrades(): boolean {
    return this.#launched.upgrade !== undefined
  }

  get isolation(): Isolation {
    return this.#launched.isolation
  }

  /** Settles when it has ended by itself; undefined where it cannot. */
  get crashed(): Promise<VhostError> | undefined {
    return this.#launched.crashed
  }

  /** Of its thread or process; undefined where it has none of its own. */
  get figures(): UpstreamFigures | undefined {
    return this.#launched.figures?.()
  }

  get environmentWrites(): readonly string[] {
    return this.#launched.environmentWrites
  }

  get isKeptByNode(): boolean {
    return this.#launched.isKeptByNode
  }

  handle(req: IncomingMessage, res: ServerResponse, next: Next): void {
    // What counts it in flight: three small objects and two closures a request.
    const socket = req.httpVersionMajor < 2 ? req.socket : undefined
    const flight = new Flight(this, this.#flights, req, res, socket, next)
    // Not `once()`, which makes a closure more: to end twice is harmless.
    res.on('close', flight.end)
    const handle = this.#handle
    try {
      const around = appAround(req)
      if (around !== this.#around) this.#mount(around)
      const returned = handle(req, res, flight.next)
      if (returned !== undefined) passRejection(returned, flight.next)
    } catch (error) {
      flight.next(error)
    }
  }

  /** Only where the app takes upgrades. `failed` is told what the app's listener threw. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, failed: (error: unknown) => void): void {
    const flight = new Flight(this, this.#flights, req, undefined, socket, failed)
    try {
      passRejection(this.#launched.upgrade?.(req, socket, head), flight.next)
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
    if (this.inFlight > 0) await this.#drained(drainTimeout)
    // Begun before the timer is: what it does itself after so long is done then.
    const disposed = this.#launched.dispose(reason)
    await within(CLOSE_TIMEOUT, disposed, () => {
      throw new Error(`close() of the app took longer than ${CLOSE_TIMEOUT} ms`)
    })
  }

  /** Has what is left cut after so many milliseconds, where that is sooner. */
  hasten(drainTimeout: number): void {
    if (this.#isDraining) setTimeout(() => this.#cut(), drainTimeout).unref()
  }

  #mount(around: unknown): void {
    this.#around = around
    this.#launched.mounted?.(around)
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
    for (const flight of this.#flights.values()) {
      if (flight.app !== this) continue
      if (!flight.isUpgrade) this.cut++
      flight.cut()
    }
  }
}
