import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import type { Order } from '../../lib/entry/messages.ts'
import type { VhostError } from '../../lib/errors.ts'
import type { Exit, Runner } from '../../lib/launch/runner.ts'
import { Untouched } from '../../lib/launch/untouched.ts'
import { Upstream } from '../../lib/launch/upstream.ts'
import { eventually } from '../support/world.ts'

const FIGURES = { memory: null, cpu: null }
/** How often the app is asked whether it is alive, in milliseconds. */
const BEAT = 750

describe('Upstream', () => {
  it('is not killed for an answer that the router, itself held up, has not read yet', async t => {
    await using busy = await Busy.start(t.mock.timers)
    for (let beat = 0; beat < 6; beat++) {
      // The router's timer comes first, then whatever has long been there to read.
      t.mock.timers.tick(BEAT)
      if (beat % 2 === 1) setImmediate(() => busy.runner.onReport?.({ type: 'pong', figures: FIGURES }))
      await busy.turns()
    }
    assert.equal(busy.kills, 0)
  })

  it('is killed if it answers nothing', async t => {
    await using busy = await Busy.start(t.mock.timers)
    t.mock.timers.tick(BEAT)
    await busy.turns()
    assert.deepEqual([busy.kills, busy.orders], [0, ['ping', 'ping']])
    t.mock.timers.tick(BEAT)
    await busy.turns()
    assert.equal(busy.kills, 1)
  })

  it('is not killed for a ping that it has had no time yet to answer', async t => {
    await using busy = await Busy.start(t.mock.timers)
    busy.runner.onReport?.({ type: 'pong', figures: FIGURES })
    for (let beat = 0; beat < 2; beat++) {
      t.mock.timers.tick(BEAT)
      await busy.turns()
    }
    assert.equal(busy.kills, 0)
    t.mock.timers.tick(BEAT)
    await busy.turns()
    assert.equal(busy.kills, 1)
  })

  it('may stand still for as long as heartbeatTimeout says', async t => {
    await using busy = await Busy.start(t.mock.timers, 20 * BEAT)
    for (let beat = 0; beat < 20; beat++) {
      assert.equal(busy.kills, 0)
      t.mock.timers.tick(BEAT)
      await busy.turns()
    }
    assert.equal(busy.kills, 1)
  })

  it('may stand still for ever with heartbeatTimeout 0, and is pinged no more until it answers', async t => {
    await using busy = await Busy.start(t.mock.timers, 0)
    for (let beat = 0; beat < 20; beat++) {
      t.mock.timers.tick(BEAT)
      await busy.turns()
    }
    assert.deepEqual([busy.kills, busy.orders], [0, ['ping', 'ping']])
    busy.runner.onReport?.({ type: 'pong', figures: FIGURES })
    t.mock.timers.tick(BEAT)
    assert.equal(busy.orders.length, 3)
  })

  it('is not killed while it answers one request after another, although it finds no time for a ping', async t => {
    await using busy = await Busy.start(t.mock.timers)
    for (let beat = 0; beat < 4; beat++) {
      const { answer } = await busy.ask()
      t.mock.timers.tick(BEAT)
      await busy.turns()
      busy.answerLast()
      await answer
    }
    assert.equal(busy.kills, 0)
    for (let beat = 0; beat < 3; beat++) {
      t.mock.timers.tick(BEAT)
      await busy.turns()
    }
    assert.equal(busy.kills, 1)
  })

  it('that lives on after it has broken a connection passes on an error that says what happened', async t => {
    await using busy = await Busy.start(t.mock.timers)
    const before = busy.orders.length
    busy.breakLast()
    await eventually(() => busy.orders.length > before)
    busy.runner.onReport?.({ type: 'pong', figures: FIGURES })
    await eventually(() => busy.passedOn.length > 0)
    const [{ code, cause }] = busy.passedOn as [VhostError]
    assert.deepEqual([code, (cause as Error).message], ['ERR_VHOST_CRASHED', 'socket hang up'])
  })

  for (const [what, how] of [
    ['has ended', /it ended with code 7/],
    ['is alive', /its socket was removed/],
  ] as const) {
    it(`whose socket is gone is told apart by whether it ${what}, and loses no request`, async t => {
      await using busy = await Busy.start(t.mock.timers)
      const before = busy.orders.length
      rmSync(busy.socketPath)
      busy.send()
      await eventually(() => busy.orders.length > before)
      if (what === 'has ended') busy.exit({ code: 7, signal: null, error: undefined })
      else busy.runner.onReport?.({ type: 'pong', figures: FIGURES })
      assert.match((await busy.upstream.crashed).message, how)
      await eventually(() => busy.passedOn.some(error => error instanceof Untouched))
    })
  }
})

/** An upstream with a request in flight that is never answered. */
class Busy {
  kills = 0
  readonly orders: Order[] = []
  /** What `next()` has been called with. */
  readonly passedOn: unknown[] = []
  readonly upstream: Upstream
  exit!: (exit: Exit) => void
  readonly runner: Runner = {
    pid: null,
    threadId: null,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    exited: new Promise(resolve => {
      this.exit = resolve
    }),
    onReport: undefined,
    order: order => void this.orders.push(order),
    end: () => {},
    kill: () => void this.kills++,
  }
  readonly #folder = mkdtempSync(join(tmpdir(), 'express-van-upstream-'))
  readonly #waiting: http.ServerResponse[] = []
  readonly #app = http.createServer((_, res) => {
    this.#waiting.push(res)
    this.#app.emit('asked')
  })
  readonly #router: http.Server

  private constructor(heartbeatTimeout: number) {
    this.upstream = new Upstream(this.runner, {
      isolation: 'process',
      socketPath: this.socketPath,
      trusts: undefined,
      requestTimeout: 0,
      heartbeatTimeout,
      redo: () => {},
      redone: new WeakSet(),
    })
    this.upstream.watch(() => true)
    this.runner.onReport?.({ type: 'ready', takesUpgrades: false, figures: FIGURES })
    this.#router = http.createServer((req, res) => {
      this.upstream.handle(req, res, error => {
        this.passedOn.push(error)
        res.end()
      })
    })
  }

  static async start(
    timers: { enable(options: { apis: ['setInterval'] }): void },
    heartbeatTimeout = 2 * BEAT,
  ): Promise<Busy> {
    const busy = new Busy(heartbeatTimeout)
    await once(busy.#app.listen(busy.socketPath), 'listening')
    await once(busy.#router.listen(0, '127.0.0.1'), 'listening')
    timers.enable({ apis: ['setInterval'] })
    await busy.ask()
    return busy
  }

  get socketPath(): string {
    return join(this.#folder, '1')
  }

  send(): http.ClientRequest {
    const { port } = this.#router.address() as AddressInfo
    return http.get({ port, host: '127.0.0.1', agent: false }).on('error', () => {})
  }

  /** Sends one more request. Resolves, when it has reached the app, to what settles at its answer. */
  async ask(): Promise<{ answer: Promise<unknown> }> {
    const request = this.send()
    const answer = new Promise(resolve => request.once('response', resolve))
    await once(this.#app, 'asked')
    return { answer }
  }

  answerLast(): void {
    this.#waiting.pop()?.end()
  }

  breakLast(): void {
    this.#waiting.pop()?.destroy()
  }

  /** More turns than anything needs that does not wait for a clock. */
  async turns(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [this.#router, this.#app]) {
      server.closeAllConnections()
      server.close()
    }
    rmSync(this.#folder, { recursive: true })
  }
}
