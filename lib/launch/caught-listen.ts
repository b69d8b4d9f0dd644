import { AsyncLocalStorage } from 'node:async_hooks'
import cluster from 'node:cluster'
import { Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import { type ListenOptions, Server } from 'node:net'
import { ProcessListeners } from './process-listeners.ts'

export type WebServer = HttpServer | HttpsServer

/**
 * What an app does to the process while it loads. Servers are noted instead of bound; listeners are noted so that they
 * can be removed.
 */
export class LoadScope {
  /** The first web server on which the app called `listen()`. */
  server: WebServer | undefined
  /** Whether the app listens with a server that answers by HTTP/2. */
  hasHttp2 = false
  readonly listeners: ProcessListeners = new ProcessListeners()
  readonly #servers: Server[] = []
  #hasListened = false
  #told: (() => void) | undefined

  constructor() {
    watchProcess()
  }

  /**
   * Resolves when the app has called `listen()` on a web server, even one that cannot answer here. Of several callers
   * that wait, only the last is told.
   */
  async listening(): Promise<void> {
    if (this.#hasListened) return
    await new Promise<void>(resolve => {
      this.#told = resolve
    })
  }

  /**
   * Settles once the servers have told the app that they listen: if they were bound to a port, this would come before
   * any request.
   */
  async toldListening(): Promise<void> {
    if (this.#servers.length > 0) await new Promise<void>(resolve => process.nextTick(resolve))
  }

  /** Stops telling whoever awaits `listening()`. */
  forgetListening(): void {
    this.#told = undefined
  }

  /** The scope of everything that runs in this process or thread, which belongs to one app. */
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
    // A server that cannot answer here also ends the wait for a server.
    if (!this.server && !this.hasHttp2) return
    this.#hasListened = true
    this.#told?.()
  }

  /**
   * Undoes for good what the app has done to the process, and lets go of it: a timer or a socket that the app leaves
   * behind holds this scope.
   */
  end(): void {
    this.listeners.remove()
    this.listeners.forget()
    // Servers that the app did not close itself hold timers.
    for (const server of this.#servers.splice(0)) {
      if (server.listening) server.close()
    }
    this.server = undefined
  }
}

export function isWebServer(value: unknown): value is WebServer {
  return value instanceof HttpServer || value instanceof HttpsServer
}

// Node does not export the class.
function isHttp2Server(server: Server): boolean {
  return /^Http2(?:Secure)?Server$/.test(server.constructor.name)
}

// The process has one `net.Server` and one list of listeners, so routers share the state that belongs to them.
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
  const { fork } = cluster
  // Workers would be copies of the router, or would listen on ports, where two releases could not run at a time.
  cluster.fork = function refusedFork(...values) {
    if (!scopes.getStore() && !everything) return Reflect.apply(fork, this, values)
    throw new Error('cluster.fork() is not available in a vhost, which has one process')
  }
  process.on('newListener', (event, listener) => scopes.getStore()?.listeners.note(event, listener))
}

/** Makes the server behave as if it listened at the requested address, while it is bound to nothing. */
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

  // Node's own `close()` would tell the callback that the server was not running.
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
