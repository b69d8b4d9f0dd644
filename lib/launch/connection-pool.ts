import { Agent, type ClientRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { FullQueue, isFull } from './full-queue.ts'

/** How many connections may wait for requests. */
const MAX_FREE = 256
/** Connections that nobody needed for this many milliseconds are closed: a burst may have opened many. */
const MAX_IDLE = 10_000
/**
 * The one buffer into which all connections read. Node's parser copies what it keeps before anything else is read, and
 * separate memory for each read would be garbage at once. It has room for a head and the 64 KiB that apps often write.
 */
const READ = Buffer.allocUnsafeSlow(128 * 1024)

/** The request that a connection now serves. */
const REQUEST = Symbol('request')

type PooledSocket = Socket & { [REQUEST]?: ClientRequest | undefined }

/**
 * Connections to an app behind a private socket; each waits for the next request once its answer has come. Node's own
 * Agent copies the options of every request to find out where it goes, which took a fifth of a small request's time.
 */
export class ConnectionPool extends Agent {
  readonly #socketPath: string
  readonly #free: PooledSocket[] = []
  /** How many of the free connections, counted from the first, nobody has needed since the last sweep. */
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

  /** Node calls this to ask an agent for a connection. */
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
    // A request in flight gets the error by itself.
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
      // Bytes that no request has asked for would be taken for the answer to the next one.
      if (!socket.emit('data', bytes.subarray(0, length))) socket.destroy()
      return true
    }
    const socket: PooledSocket = connect({ path: this.#socketPath, onread: { buffer: READ, callback } })
    return socket
  }

  // Node's client emits this, as it does for its own Agent, once request and answer are over. Node 20 and 22 may emit
  // it again when the connection already serves the next request.
  #onFree(socket: PooledSocket): void {
    if (!socket[REQUEST]?.destroyed) return
    socket[REQUEST] = undefined
    // As Node's Agent does; otherwise the whole request stays in memory as long as the connection waits.
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
    // If connections are open, one of them will be free. If none is, waiting would hold on to what this process has run
    // out of.
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

/** Makes a request that gets no connection emit its end. */
function fail(request: ClientRequest, error?: Error): void {
  request.destroy(error)
  request.onSocket(undefined as unknown as Socket)
}
