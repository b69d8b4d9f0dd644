import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Chain } from './app/chain.ts'
import { Flight } from './app/flight.ts'
import type { VhostError } from './errors.ts'
import type { EvictReason } from './events.ts'
import { appAround } from './handler/express-app.ts'
import {
  CLOSE_TIMEOUT,
  type Handle,
  type Launched,
  type Next,
  type UpstreamFigures,
} from './launch/launch.ts'
import type { Isolation } from './options.ts'
import { passRejection } from './promises/rejection.ts'
import { within } from './promises/within.ts'
import type { Release } from './release.ts'
import type { Used } from './uses.ts'

const MAX_USES = 15
/**
 * No request has come yet. The module may have served as an earlier `App`, and still know the Express app around that
 * one.
 */
const UNKNOWN = Symbol('unknown')

/** A loaded release: its handler, its requests in flight, its end. */
export class App implements Used {
  // The fields that each request reads and writes come first, to lie side by side in memory.
  usedAt = 0
  requests = 0
  /** Requests and upgraded sockets that have not ended. */
  inFlight = 0
  /** Called each time the last request in flight has ended, or the last hold of an app with none in flight. */
  onIdle: (() => void) | undefined
  readonly #handle: Handle
  /** The Express app that the last request came through. */
  #around: unknown = UNKNOWN
  readonly #flights: Chain<Flight>
  readonly release: Release
  /** The hostname that it was first loaded for; others may share the app. */
  readonly name: string
  readonly loadDurationMs: number
  errors = 0
  /**
   * Requests that had not ended within the drain timeout. Upgraded sockets do not count: they are long-lived by nature.
   */
  cut = 0
  #predecessor: Promise<void> | undefined
  #aged = 0
  readonly #loadedAt = Date.now()
  readonly #launched: Launched
  #isRetired = false
  #isDraining = false
  #isCut = false
  /** Requests that it is held for. */
  #waiting = 0

  /** `flights` holds the flights of all apps of the router. */
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

  /** Settles when the apps that this one has replaced have ended; undefined if none is left. */
  get predecessor(): Promise<void> | undefined {
    return this.#predecessor
  }

  /** Notes that this app replaces one that ends when the promise settles; it may replace several. */
  succeed(ended: Promise<void>): void {
    const all = Promise.all([this.#predecessor, ended]).then(() => {
      if (this.#predecessor === all) this.#predecessor = undefined
    })
    this.#predecessor = all
  }

  /** How often it was asked for lately, up to a number that tells a site in use from one that was merely looked at. */
  get uses(): number {
    return Math.min(this.requests - this.#aged, MAX_USES)
  }

  /** Halves `uses`. */
  age(): void {
    this.#aged = this.requests - Math.floor(this.uses / 2)
  }

  /** Keeps it from being evicted to make room, and from being disposed, for requests that wait to be handed over. */
  hold(requests = 1): void {
    this.#waiting += requests
  }

  /** Ends a hold. The request is to be handed over at once. */
  letGo(): void {
    this.#waiting--
    if (!this.isBusy) this.onIdle?.()
  }

  get isHeld(): boolean {
    return this.#waiting > 0
  }

  get isBusy(): boolean {
    return this.inFlight > 0 || this.isHeld
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

  /** Settles when it has ended by itself; undefined if it cannot. */
  get crashed(): Promise<VhostError> | undefined {
    return this.#launched.crashed
  }

  /** The figures of its thread or process; undefined if it has none of its own. */
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
    // Counting a request in flight takes two small objects and two closures.
    const flight = new Flight(this, this.#flights, req, res, next)
    // Not `once()`, which would make one more closure: ending twice is harmless.
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

  /** To be called only if the app takes upgrades. `failed` gets what the app's listener threw. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, failed: (error: unknown) => void): void {
    const flight = new Flight(this, this.#flights, req, undefined, failed, socket)
    try {
      passRejection(this.#launched.upgrade?.(req, socket, head), flight.next)
    } catch (error) {
      flight.next(error)
    }
  }

  /**
   * Takes no new requests but those it is held for, lets those in flight end within `drainTimeout` milliseconds, cuts
   * what is left, and disposes. Rejects, once all is over, with what the app's own close hook threw, or if that took
   * too long.
   */
  async retire(reason: EvictReason, drainTimeout: number): Promise<void> {
    this.#isRetired = true
    if (this.isBusy) await this.#drained(drainTimeout)
    // Started before the timer, so that what dispose() itself does after the same time comes first.
    const disposed = this.#launched.dispose(reason)
    await within(CLOSE_TIMEOUT, disposed, () => {
      throw new Error(`close() of the app took longer than ${CLOSE_TIMEOUT} ms`)
    })
  }

  /** While it drains, cuts what is left after `drainTimeout` milliseconds, if that is sooner. */
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
    // A request is handed over only after the hold for it has ended.
    while (this.isBusy && !this.#isCut) {
      await new Promise<void>(resolve => {
        this.onIdle = resolve
      })
    }
    clearTimeout(timer)
    this.onIdle = undefined
    this.#isDraining = false
  }

  #cut(): void {
    this.#isCut = true
    for (const flight of this.#flights.values()) {
      if (flight.app !== this) continue
      if (!flight.isUpgrade) this.cut++
      flight.cut()
    }
    this.onIdle?.()
  }
}
