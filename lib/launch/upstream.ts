import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Figures, Report } from '../entry/messages.ts'
import { type PlainError, toError } from '../entry/plain-error.ts'
import { VhostError } from '../errors.ts'
import { debug } from '../events.ts'
import { within } from '../promises/within.ts'
import type { Trusts } from '../trust-proxy.ts'
import { shortened } from '../values/thrown.ts'
import type { RoutedRequest } from '../vhost-info.ts'
import { afterReading } from './after-reading.ts'
import { Forward } from './forward.ts'
import { CLOSE_TIMEOUT, type Launched, type UpstreamFigures } from './launch.ts'
import { readProcessFigures } from './process-figures.ts'
import type { Exit, Runner } from './runner.ts'
import { type Redo, Untouched } from './untouched.ts'

/** How often an app that may stand still for ever is asked for its figures, in milliseconds. */
const HEARTBEAT = 750
/** An app that leaves this many pings unanswered is killed when the next one is due. */
const MAX_UNANSWERED = 2
/** How long an app may take from SIGTERM to its end, in milliseconds. */
const TERM_GRACE = 2000
/** In milliseconds. Whoever stops waiting for an app's `close()` is told first; then the app is ended. */
const TOLD = 100
/** How long it may take to find out whether an app whose connection broke is alive, in milliseconds. */
const VERDICT = 1000

export interface UpstreamSettings {
  readonly isolation: 'thread' | 'process'
  readonly socketPath: string
  readonly trusts: Trusts | undefined
  readonly requestTimeout: number
  /** How long it may stand still while it has requests, in milliseconds; 0: for ever. */
  readonly heartbeatTimeout: number
  readonly redo: Redo
  /** Requests that have been redone once, whatever the upstream: none is redone twice. */
  readonly redone: WeakSet<IncomingMessage>
}

/** The thread or process behind an isolated vhost: its start, its heartbeat, its end. */
export class Upstream implements Launched {
  readonly isolation: 'thread' | 'process'
  readonly environmentWrites: readonly string[] = []
  readonly isKeptByNode = false
  readonly handle: Launched['handle']
  /** Settles when the app can answer. Rejects with a `VhostError` if it ends first. */
  readonly ready: Promise<void>
  /** Whether `ready` has resolved. */
  isReady = false
  /** Settles when it has ended, in whatever way. */
  readonly exited: Promise<Exit>
  readonly crashed: Promise<VhostError>
  readonly #runner: Runner
  readonly #forward: Forward
  readonly #heartbeatTimeout: number
  readonly #redo: Redo
  readonly #redone: WeakSet<IncomingMessage>
  readonly #pongs = new Set<() => void>()
  #stopped: ((error: PlainError | undefined) => void) | undefined
  #isStopping = false
  #takesUpgrades = false
  #figures: Figures = { memory: null, cpu: null }
  #isBusy: () => boolean = () => false
  #heartbeat: NodeJS.Timeout | undefined
  /** How often it has been pinged since it last answered anything. */
  #unanswered = 0
  #isStill = false
  #isLost = false
  #crash!: (error: VhostError) => void

  constructor(runner: Runner, settings: UpstreamSettings) {
    const { socketPath, trusts, requestTimeout, heartbeatTimeout } = settings
    this.isolation = settings.isolation
    this.#runner = runner
    this.#heartbeatTimeout = heartbeatTimeout
    this.#redo = settings.redo
    this.#redone = settings.redone
    this.#forward = new Forward({
      socketPath,
      trusts,
      requestTimeout,
      retry: this.#retry,
      broken: this.#onBroken,
      answered: this.#onAnswered,
    })
    this.exited = runner.exited.then(exit => {
      this.#endHeartbeat()
      return exit
    })
    this.crashed = new Promise(resolve => {
      this.#crash = resolve
      void this.exited.then(exit => {
        if (!this.#isStopping) resolve(this.#isStill ? standstill(heartbeatTimeout) : crash(exit))
      })
    })
    this.ready = this.#becomeReady()
    this.handle = (req, res, next) => {
      this.#beginHeartbeat()
      return this.#forward.handle(req, res, next)
    }
  }

  get upgrade(): Launched['upgrade'] {
    return this.#takesUpgrades ? this.#upgrade : undefined
  }

  figures(): UpstreamFigures {
    const { pid, threadId } = this.#runner
    const now = pid === null ? undefined : readProcessFigures(pid)
    return { pid, threadId, ...(now ?? this.#figures) }
  }

  watch(isBusy: () => boolean): void {
    this.#isBusy = isBusy
  }

  async dispose(): Promise<void> {
    this.#isStopping = true
    this.#endHeartbeat()
    this.#forward.close()
    const stopped = Promise.race([this.#stop(), this.exited.then(() => undefined)])
    const failure = await within(CLOSE_TIMEOUT + TOLD, stopped, () => undefined)
    this.#runner.end()
    await this.#endWithin(TERM_GRACE)
    if (failure) throw toError(failure)
  }

  /** Ends it without notice, whatever it is doing. */
  async kill(): Promise<void> {
    this.#isStopping = true
    this.#forward.close()
    this.#runner.kill()
    await this.#endWithin(TERM_GRACE)
  }

  /** The timer keeps the router's process alive, which the app does not. */
  async #endWithin(milliseconds: number): Promise<void> {
    const timer = setTimeout(() => this.#runner.kill(), milliseconds)
    await this.exited
    clearTimeout(timer)
  }

  /** Rejects if the app has not answered; never settles if it has. */
  readonly #upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): Promise<never> => {
    this.#beginHeartbeat()
    return new Promise((_, reject) => this.#forward.upgrade(req, socket, head, reject))
  }

  #becomeReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#runner.onReport = report => {
        if (report.type === 'ready') {
          this.isReady = true
          this.#takesUpgrades = report.takesUpgrades
          this.#figures = report.figures
          this.#runner.onReport = this.#onReport
          resolve()
        } else if (report.type === 'no handler') {
          reject(new VhostError('ERR_VHOST_NO_HANDLER', { detail: shortened(report.detail) }))
        } else if (report.type === 'failed') {
          reject(new VhostError('ERR_VHOST_LOAD', { cause: toError(report.error) }))
        }
      }
      // Its last report may arrive after the news of its end.
      void this.exited.then(exit => {
        setImmediate(() => reject(new VhostError('ERR_VHOST_LOAD', { cause: exit.error ?? crash(exit) })))
      })
    })
  }

  readonly #onReport = (report: Report): void => {
    if (report.type === 'pong') {
      this.#unanswered = 0
      this.#figures = report.figures
      for (const tell of this.#pongs) tell()
    } else if (report.type === 'upgrades') {
      this.#takesUpgrades = report.takesUpgrades
    } else if (report.type === 'stopped') {
      this.#stopped?.(report.error)
    }
  }

  /** Resolves to what the app's own `close()` threw. */
  #stop(): Promise<PlainError | undefined> {
    return new Promise(resolve => {
      this.#stopped = resolve
      this.#runner.order('stop')
    })
  }

  #beginHeartbeat(): void {
    if (this.#heartbeat || this.#isStopping) return
    this.#unanswered = 0
    this.#ping()
    const interval = this.#heartbeatTimeout / MAX_UNANSWERED || HEARTBEAT
    this.#heartbeat = setInterval(() => this.#beat(), interval).unref()
  }

  #beat(): void {
    if (!this.#isBusy()) this.#endHeartbeat()
    else if (this.#unanswered < MAX_UNANSWERED) this.#ping()
    else if (this.#heartbeatTimeout > 0) afterReading(() => this.#judge())
  }

  #ping(): void {
    this.#unanswered++
    this.#runner.order('ping')
  }

  #judge(): void {
    if (this.#unanswered < MAX_UNANSWERED || !this.#heartbeat) return
    debug('no heartbeat: killed')
    this.#endHeartbeat()
    this.#isStill = true
    this.#runner.kill()
  }

  /**
   * Node may read many requests before it reads a ping. An app that works hard on each of them answers one after another
   * meanwhile.
   */
  readonly #onAnswered = (): void => {
    this.#unanswered = 0
  }

  #endHeartbeat(): void {
    clearInterval(this.#heartbeat)
    this.#heartbeat = undefined
  }

  /**
   * An app whose socket was removed is alive, but out of reach: it ends what it has begun, as if replaced. A thread that
   * ends removes its own socket before the router hears of its end.
   */
  readonly #onBroken = ({ code, syscall }: NodeJS.ErrnoException): void => {
    if (code !== 'ENOENT' || syscall !== 'connect' || this.#isStopping || this.#isLost) return
    this.#isLost = true
    void this.#hasEnded().then(hasEnded => {
      if (!hasEnded) this.#crash(new VhostError('ERR_VHOST_CRASHED', { detail: 'its socket was removed' }))
    })
  }

  /** A broken connection means that the app has crashed, or that it meant to break the connection. */
  readonly #retry = (
    req: RoutedRequest,
    answer: ServerResponse | Duplex,
    next: (error: VhostError) => void,
    cause: Error,
  ): boolean => {
    if (this.#isStopping || this.#redone.has(req)) return false
    this.#redone.add(req)
    void this.#isDead().then(isDead => {
      const hostname = req.vhost?.hostname
      if (isDead && !answer.destroyed) next(new Untouched(hostname, this.#redo))
      else next(new VhostError('ERR_VHOST_CRASHED', { hostname, cause }))
    })
    return true
  }

  async #isDead(): Promise<boolean> {
    if (await this.#hasEnded()) return true
    // Whoever waits for the crash is told first, and sends no more requests here.
    if (this.#isLost) await this.crashed
    return this.#isLost
  }

  async #hasEnded(): Promise<boolean> {
    let tell = (): void => {}
    const ponged = new Promise<boolean>(resolve => {
      tell = () => resolve(false)
    })
    this.#pongs.add(tell)
    this.#runner.order('ping')
    const verdict = Promise.race([this.exited.then(() => true), ponged])
    const hasEnded = await within(VERDICT, verdict, () => false)
    this.#pongs.delete(tell)
    return hasEnded
  }
}

/** Its exit, which the router caused, would not say why. */
function standstill(milliseconds: number): VhostError {
  const detail = `it did not respond for ${milliseconds / 1000} s and was killed`
  return new VhostError('ERR_VHOST_CRASHED', { detail })
}

function crash({ code, signal, error }: Exit): VhostError {
  const how = signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`
  return new VhostError('ERR_VHOST_CRASHED', { detail: how, cause: error })
}
