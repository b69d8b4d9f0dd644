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
import type { Runner } from '../../lib/launch/runner.ts'
import { Upstream } from '../../lib/launch/upstream.ts'

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
    for (let beat = 0; beat < 2; beat++) {
      t.mock.timers.tick(BEAT)
      await busy.turns()
    }
    assert.equal(busy.kills, 1)
  })
})

/** An upstream with a request in flight that is never answered. */
class Busy {
  kills = 0
  readonly orders: Order[] = []
  readonly runner: Runner = {
    pid: null,
    threadId: null,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    exited: new Promise(() => {}),
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

  private constructor() {
    const upstream = new Upstream(this.runner, {
      isolation: 'process',
      socketPath: join(this.#folder, '1'),
      trusts: undefined,
      requestTimeout: 0,
      redo: () => {},
      redone: new WeakSet(),
    })
    upstream.watch(() => true)
    this.runner.onReport?.({ type: 'ready', takesUpgrades: false, figures: FIGURES })
    this.#router = http.createServer((req, res) => upstream.handle(req, res, () => res.end()))
  }

  static async start(timers: { enable(options: { apis: ['setInterval'] }): void }): Promise<Busy> {
    const busy = new Busy()
    await once(busy.#app.listen(join(busy.#folder, '1')), 'listening')
    await once(busy.#router.listen(0, '127.0.0.1'), 'listening')
    timers.enable({ apis: ['setInterval'] })
    await busy.ask()
    return busy
  }

  /** Sends one more request. Resolves, when it has reached the app, to what settles at its answer. */
  async ask(): Promise<{ answer: Promise<unknown> }> {
    const { port } = this.#router.address() as AddressInfo
    const request = http.get({ port, host: '127.0.0.1', agent: false }).on('error', () => {})
    const answer = new Promise(resolve => request.once('response', resolve))
    await once(this.#app, 'asked')
    return { answer }
  }

  answerLast(): void {
    this.#waiting.pop()?.end()
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
