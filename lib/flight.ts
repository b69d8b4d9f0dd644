import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Chain, type Link } from './chain.ts'
import { cutAnswer } from './cut-answer.ts'
import { isClientGone } from './launch/client-gone.ts'
import { isNextError } from './launch/is-next-error.ts'
import type { Next } from './launch/launch.ts'
import { Untouched } from './launch/untouched.ts'
import { bytesWritten, closeWebSocket } from './websocket-close.ts'

/** What an app is told by its flights. */
interface Counts {
  requests: number
  errors: number
  inFlight: number
  readonly onIdle: (() => void) | undefined
}

/** The flights on each socket. Where a client goes away, queued responses never say so on Node 20 and 22. */
const FLIGHTS = Symbol('flights')

interface FlightSocket extends Duplex {
  [FLIGHTS]?: Chain<Flight>
}

/**
 * One request or upgraded socket. It ends at the first of: `next` was called, the response closed, the socket closed.
 */
export class Flight {
  readonly app: Counts
  readonly #inAll: Link<Flight>
  readonly #onSocket: Link<Flight> | undefined
  readonly #req: IncomingMessage
  readonly #res: ServerResponse | undefined
  readonly #reqPrototype: object
  readonly #resPrototype: object | undefined
  readonly #socket: FlightSocket | undefined
  readonly #next: Next
  readonly #writtenBefore: number

  /**
   * `all` are those of all apps: to be in a chain of its app's own would, with thousands of apps, make the garbage
   * collector keep account of each. `socket` is undefined for HTTP/2, where it is a stand-in and the response says all.
   */
  constructor(
    app: Counts,
    all: Chain<Flight>,
    req: IncomingMessage,
    res: ServerResponse | undefined,
    socket: Duplex | undefined,
    next: Next,
  ) {
    this.app = app
    this.#req = req
    this.#res = res
    this.#reqPrototype = Object.getPrototypeOf(req)
    this.#resPrototype = res && Object.getPrototypeOf(res)
    this.#socket = socket
    this.#next = next
    this.#writtenBefore = !res && socket ? bytesWritten(socket) : 0
    app.requests++
    app.inFlight++
    this.#inAll = all.add(this)
    this.#onSocket = socket && flightsOn(socket).add(this)
    // Who went away while the app was loaded, or was answered by somebody else, says so no more.
    if (res ? isClientGone(req, res) : socket?.destroyed) this.end()
  }

  readonly end = (): void => {
    if (!this.#inAll.leave()) return
    this.#onSocket?.leave()
    if (--this.app.inFlight === 0) this.app.onIdle?.()
  }

  readonly next = (error?: unknown): void => {
    this.end()
    this.#restorePrototypes()
    if (error instanceof Untouched) {
      // An upgrade is redone by whoever routes it.
      if (this.#res) error.redo(this.#req, this.#res, this.#next)
      else this.#next(error)
      return
    }
    if (isNextError(error)) this.app.errors++
    this.#next(error)
  }

  get isUpgrade(): boolean {
    return this.#res === undefined
  }

  cut(): void {
    if (this.#socket && this.isUpgrade) closeWebSocket(this.#socket, this.#writtenBefore)
    else if (this.#socket) this.#socket.destroy()
    else if (this.#res) cutAnswer(this.#res)
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

function flightsOn(socket: FlightSocket): Chain<Flight> {
  const known = socket[FLIGHTS]
  if (known) return known
  const flights = new Chain<Flight>()
  socket[FLIGHTS] = flights
  socket.once('close', () => {
    for (const flight of flights.values()) flight.end()
  })
  return flights
}
