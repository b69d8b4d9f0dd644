import { Agent, type ClientRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { FullQueue, isFull } from './full-queue.ts'

/** Connections that wait for requests. */
const MAX_FREE = 256
/** Those that nobody needed for so many milliseconds are closed: a burst may have opened many. */
const MAX_IDLE = 10_000
/**
 * Where all connections read: Node's parser copies what it keeps before anything else is read, and memory of its own
 * for each read is garbage at once. Room for the 64 KiB that apps often write, and a head.
 */
const READ = Buffer.allocUnsafeSlow(128 * 1024)

/** What a connection serves now. */
const REQUEST = Symbol('request')

type PooledSocket = Socket & { [REQUEST]?: ClientRequest | undefined }

/**
 * Connections to an app behind a private socket; each waits for the next request once its answer has come. Node's own
 * Agent copies the options of every request to find out where it goes, which was a fifth of a small request's time.
 */
export class ConnectionPool extends Agent {
  readonly #socketPath: string
  readonly #free: PooledSocket[] = []
  /** How many of those, the first, nobody has needed since the last sweep. */
  #unused = 0
  readonly #sweeps: NodeJS.Timeout
  readonly #open = new Set<PooledSocket>()
  readonly #waiting = new FullQueue<ClientRequest>(
    request => this.#serve(request),
    request => request.destroyed,
    fail,
  )

  constructor(socketPath: string) {
    super({ keepAlive: true })
    this.#socketPath = socketPath
    this.#sweeps = setInterval(() => this.#sweep(), MAX_IDLE).unref()
  }

  /** By which Node asks an agent for a connection. */
  addRequest(request: ClientRequest): void {
    if (this.#waiting.isEmpty || this.#free.length > 0) this.#serve(request)
    else this.#waiting.wait(request)
  }

  /** Closes all connections, also those in use. */
  override destroy(): void {
    clearInterval(this.#sweeps)
    for (const socket of this.#open) socket.destroy()
    this.#waiting.clear()
  }

  #serve(request: ClientRequest): void {
    const socket = this.#takeFree()
    if (socket) give(socket, request)
    else this.#connect(request)
  }

  #takeFree(): PooledSocket | undefined {
    let socket = this.#free.pop()
    while (socket && !socket.writable) socket = this.#free.pop()
    this.#unused = Math.min(this.#unused, this.#free.length)
    return socket?.ref()
  }

  #connect(request: ClientRequest): void {
    const socket = this.#openSocket()
    socket[REQUEST] = request
    this.#open.add(socket)
    let isConnected = false
    let error: NodeJS.ErrnoException | undefined
    socket.once('connect', () => {
      isConnected = true
      give(socket, socket[REQUEST] as ClientRequest)
      this.#waiting.askAll()
    })
    // A request in flight hears of it by itself.
    socket.on('error', thrown => {
      error = thrown
    })
    socket.on('close', () => {
      this.#open.delete(socket)
      if (!isConnected) this.#onRefused(socket[REQUEST] as ClientRequest, error)
    })
    socket.on('free', () => this.#onFree(socket))
  }

  #openSocket(): PooledSocket {
    const callback = (length: number, bytes: Uint8Array): boolean => {
      // What nobody has asked for would be the answer to the next request.
      if (!socket.emit('data', bytes.subarray(0, length))) socket.destroy()
      return true
    }
    const socket: PooledSocket = connect({ path: this.#socketPath, onread: { buffer: READ, callback } })
    return socket
  }

  // Said by Node's client, as to its own Agent, once request and answer are over. Node 20 and 22 may say it again when
  // the connection serves the next request already.
  #onFree(socket: PooledSocket): void {
    if (!socket[REQUEST]?.destroyed) return
    socket[REQUEST] = undefined
    // As Agent does, or all of the request stays in memory as long as the connection waits.
    Object.assign(socket, { _httpMessage: null })
    if (!socket.writable) {
      socket.destroy()
      return
    }
    if (this.#waiting.giveFirst(request => give(socket, request))) return
    if (this.#free.length >= MAX_FREE) socket.destroy()
    else this.#free.push(socket.unref())
  }

  #sweep(): void {
    for (const socket of this.#free.splice(0, this.#unused)) socket.destroy()
    this.#unused = this.#free.length
  }

  #onRefused(request: ClientRequest, error: NodeJS.ErrnoException | undefined): void {
    // Of those that are open one will be free; where there is none, to wait would keep what this process has used up.
    const mayWait = error && (isFull(error) || (isUsedUp(error) && this.#open.size > 0))
    if (mayWait && !request.destroyed) {
      this.#waiting.wait(request)
      return
    }
    fail(request, error)
    this.#waiting.askAll()
  }
}

/** Whether this process, or the system, has no file descriptor left. */
function isUsedUp({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EMFILE' || code === 'ENFILE'
}

function give(socket: PooledSocket, request: ClientRequest): void {
  socket[REQUEST] = request
  request.onSocket(socket)
}

/** Has a request that gets no connection tell of its end. */
function fail(request: ClientRequest, error?: Error): void {
  request.destroy(error)
  request.onSocket(undefined as unknown as Socket)
}
