import { AsyncLocalStorage } from 'node:async_hooks'
import { Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import { type ListenOptions, Server } from 'node:net'

export type WebServer = HttpServer | HttpsServer

type ProcessListener = (...values: unknown[]) => void
type Added = readonly [event: string | symbol, listener: ProcessListener]

const MANY_LISTENERS = 100

/** What an app does to the process while it is loaded: noted here instead, or here so that it can be undone. */
export class LoadScope {
  /** The first web server on which the app called `listen()`. */
  server: WebServer | undefined
  /** Whether the app listens with a server that answers by HTTP/2. */
  hasHttp2 = false
  readonly #servers: Server[] = []
  /** What the app added to `process`, and may have removed again. */
  #added: Added[] = []
  /** When there are so many it is time to forget those that the app has removed. */
  #many = MANY_LISTENERS
  /** What was removed from `process`, to be put back where the app is used again. */
  #removed: Added[] = []
  #hasListened = false
  #told: (() => void) | undefined

  constructor() {
    watchProcess()
  }

  /** Resolves when the app has called `listen()` on a web server, be it one that cannot answer here. */
  async listening(): Promise<void> {
    if (this.#hasListened) return
    await new Promise<void>(resolve => {
      this.#told = resolve
    })
  }

  /** Tells who awaits `listening()` no more. */
  forgetListening(): void {
    this.#told = undefined
  }

  /** The scope of all that ever runs in this process or thread, which is one app's. */
  static ofProcess(): LoadScope {
    everything = new LoadScope()
    return everything
  }

  /** Runs a load, and all that it starts, in this scope. */
  run<T>(load: () => T): T {
    return scopes.run(this, load)
  }

  /** Takes a server that called `listen()`; the first that can answer requests is the app's handler. */
  take(server: Server): void {
    if (!this.#servers.includes(server)) this.#servers.push(server)
    if (isWebServer(server)) this.server ??= server
    if (isHttp2Server(server)) this.hasHttp2 = true
    // What awaits a server is told of one that cannot answer here, too.
    if (!this.server && !this.hasHttp2) return
    this.#hasListened = true
    this.#told?.()
  }

  noteListener(event: string | symbol, listener: ProcessListener): void {
    if (this.#added.length >= this.#many) {
      this.#added = this.#added.filter(added => present(added) !== undefined)
      this.#many = Math.max(MANY_LISTENERS, 2 * this.#added.length)
    }
    this.#added.push([event, listener])
  }

  /** Closes the servers that the app did not close itself: they hold timers. */
  closeServers(): void {
    for (const server of this.#servers) {
      if (server.listening) server.close()
    }
  }

  /** Puts the app's listeners on `process` back, where it is used again. */
  addListeners(): void {
    for (const [event, listener] of this.#removed) process.on(event, listener)
    this.#added.push(...this.#removed)
    this.#removed = []
  }

  removeListeners(): void {
    for (const added of this.#added) {
      const [event] = added
      const own = present(added)
      if (!own) continue
      process.off(event, own)
      this.#removed.push([event, own])
    }
    this.#added = []
  }
}

export function isWebServer(value: unknown): value is WebServer {
  return value instanceof HttpServer || value instanceof HttpsServer
}

// Its class is not exported.
function isHttp2Server(server: Server): boolean {
  return /^Http2(?:Secure)?Server$/.test(server.constructor.name)
}

/** As it stands on `process`: one that is called once stands wrapped, and is gone when it was called. */
function present([event, listener]: Added): ProcessListener | undefined {
  const listeners = process.rawListeners(event) as (ProcessListener & { listener?: unknown })[]
  return listeners.find(raw => raw === listener || raw.listener === listener)
}

// The process has one `net.Server` and one list of listeners, so routers share what stands on them.
const scopes = new AsyncLocalStorage<LoadScope>()
let everything: LoadScope | undefined
let isWatching = false

function watchProcess(): void {
  if (isWatching) return
  isWatching = true
  const listen = Server.prototype.listen
  Server.prototype.listen = function caughtListen(this: Server, ...values: unknown[]): Server {
    const scope = scopes.getStore() ?? everything
    if (!scope) return Reflect.apply(listen, this, values)
    scope.take(this)
    return pretendToListen(this, values)
  }
  process.on('newListener', (event, listener) => scopes.getStore()?.noteListener(event, listener))
}

/** The server behaves as if it listened at the address that was asked for, and is bound to nothing. */
function pretendToListen(server: Server, values: unknown[]): Server {
  const callback = values.find(value => typeof value === 'function') as (() => void) | undefined
  const address = addressOf(values)
  if (callback) server.once('listening', callback)
  const original = server.close
  Object.defineProperties(server, {
    listening: { value: true, configurable: true, writable: true },
    address: { value: () => address, configurable: true, writable: true },
    close: { value: close, configurable: true, writable: true },
  })
  process.nextTick(() => server.listening && server.emit('listening'))
  return server

  // Node's own would tell the callback that the server was not running.
  function close(done?: (error?: Error) => void): Server {
    Object.defineProperty(server, 'listening', { value: false, configurable: true, writable: true })
    if (typeof done === 'function') server.once('close', () => done())
    return Reflect.apply(original, server, [])
  }
}

function addressOf([first, second]: unknown[]): string | { address: string; family: string; port: number } {
  const options: ListenOptions =
    typeof first === 'object' && first !== null
      ? first
      : typeof first === 'string' && !/^\d+$/.test(first)
        ? { path: first }
        : { port: Number(first) || 0, ...(typeof second === 'string' && { host: second }) }
  if (options.path !== undefined) return options.path
  const address = options.host || '::'
  return { address, family: address.includes(':') ? 'IPv6' : 'IPv4', port: Number(options.port) || 0 }
}
