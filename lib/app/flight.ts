import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { cutAnswer } from '../answers/cut-answer.ts'
import { isQueued } from '../answers/is-queued.ts'
import { isNextError } from '../launch/is-next-error.ts'
import type { Next } from '../launch/launch.ts'
import { Untouched } from '../launch/untouched.ts'
import { bytesWritten, closeWebSocket } from '../upgrade/websocket-close.ts'
import { Chain, type Link } from './chain.ts'

/** What flights count on their app. */
interface Counts {
  requests: number
  errors: number
  inFlight: number
  readonly onIdle: (() => void) | undefined
}

/** The flights that only end with their socket, or are queued on it. */
const FLIGHTS = Symbol('flights')

interface FlightSocket extends Duplex {
  [FLIGHTS]?: Chain<Flight>
}

/**
 * One request or upgraded socket. It ends when `next` is called, the response closes or the socket closes, whichever is
 * first.
 */
export class Flight {
  readonly app: Counts
  readonly #inAll: Link<Flight>
  readonly #onSocket: Link<Flight> | undefined
  readonly #req: IncomingMessage
  readonly #res: ServerResponse | undefined
  readonly #reqPrototype: object
  readonly #resPrototype: object | undefined
  readonly #upgraded: Duplex | undefined
  readonly #next: Next
  readonly #writtenBefore: number

  /**
   * `all` holds the flights of all apps: with a chain for each of thousands of apps, the garbage collector would have
   * to keep account of each. `upgraded` is the socket of an upgrade, which has no response.
   */
  constructor(
    app: Counts,
    all: Chain<Flight>,
    req: IncomingMessage,
    res: ServerResponse | undefined,
    next: Next,
    upgraded?: Duplex,
  ) {
    this.app = app
    this.#req = req
    this.#res = res
    this.#reqPrototype = Object.getPrototypeOf(req)
    this.#resPrototype = res && Object.getPrototypeOf(res)
    this.#upgraded = upgraded
    this.#next = next
    this.#writtenBefore = upgraded ? bytesWritten(upgraded) : 0
    app.requests++
    app.inFlight++
    this.#inAll = all.add(this)
    const socket = upgraded ?? (res && socketOfQueued(req, res))
    this.#onSocket = socket && flightsOn(socket).add(this)
    // A client that left while the app was loaded, or that somebody else has answered, emits no further event.
    if (socket?.destroyed || (res && hasClosed(res))) this.end()
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
      // An upgrade is redone by its router.
      if (this.#res) error.redo(this.#req, this.#res, this.#next)
      else this.#next(error)
      return
    }
    if (isNextError(error)) this.app.errors++
    this.#next(error)
  }

  get isUpgrade(): boolean {
    return this.#upgraded !== undefined
  }

  cut(): void {
    if (this.#upgraded) closeWebSocket(this.#upgraded, this.#writtenBefore)
    else if (this.#req.httpVersionMajor < 2) this.#req.socket.destroy()
    else if (this.#res) cutAnswer(this.#res)
    this.end()
  }

  // An Express app changes the prototypes of req and res, but the next middleware must get them as they were.
  #restorePrototypes(): void {
    if (Object.getPrototypeOf(this.#req) !== this.#reqPrototype) {
      Object.setPrototypeOf(this.#req, this.#reqPrototype)
    }
    if (this.#resPrototype && Object.getPrototypeOf(this.#res) !== this.#resPrototype) {
      Object.setPrototypeOf(this.#res, this.#resPrototype)
    }
  }
}

/** Undefined if the response tells when its client goes, as on Node 20 and 22 one that is queued never does. */
function socketOfQueued(req: IncomingMessage, res: ServerResponse): FlightSocket | undefined {
  return isQueued(req, res) ? req.socket : undefined
}

function hasClosed(res: ServerResponse & { stream?: ServerHttp2Stream }): boolean {
  return res.destroyed || res.stream?.destroyed === true
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
