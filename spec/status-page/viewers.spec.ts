import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import type { VhostRouter } from '../../lib/index.ts'
import { Board, MAX_SAMPLES, SAMPLE_INTERVAL } from '../../lib/status-page/board.ts'
import { Viewers } from '../../lib/status-page/viewers.ts'

const TOTALS = { apps: 0, draining: 0, failed: 0, hostnames: 0, requests: 0, inFlight: 0, errors: 0 }
const LOADED = { hostnames: ['aries.test'], realPath: '/srv/aries', version: 1, durationMs: 1 }

describe('Viewers', () => {
  it('asks the router nothing while there are no viewers', t => {
    const { vhosts, asked, tick } = start(t)
    for (let i = 0; i < 10; i++) vhosts.emit('load', LOADED)
    tick(10 * MAX_SAMPLES)
    assert.equal(asked(), 0)
  })

  it('asks once for a burst of deploys, and once for each sample, however many viewers there are', t => {
    const { vhosts, asked, tick, view } = start(t)
    for (let i = 0; i < 5; i++) view()
    const before = asked()
    for (let i = 0; i < 100; i++) vhosts.emit('load', LOADED)
    t.mock.timers.tick(SAMPLE_INTERVAL - 1)
    // On a busy machine, the next sample sends it.
    assert.ok(asked() - before <= 1)
    tick(3)
    assert.ok([3, 4].includes(asked() - before), `${asked() - before}`)
  })

  it('makes a message once for many viewers: for those who come together, and for each change', t => {
    const { asked, tick, view, vhosts } = start(t)
    vhosts.emit('load', LOADED)
    const viewers = Array.from({ length: 50 }, view)
    assert.equal(asked(), 1)
    tick(1)
    for (const { written } of viewers) assert.equal(written.length, 2)
    for (const i of [0, 1]) assert.equal(new Set(viewers.map(({ written }) => written[i])).size, 1, `${i}`)
    assert.deepEqual(
      viewers[0]?.written.map(
        bytes => /^(?:id: \S+\n)?event: (\w+)\ndata: \{.*\}\n\n$/.exec(String(bytes))?.[1],
      ),
      ['snapshot', 'change'],
    )
  })

  it('sends a viewer who comes between two looks the state of the first, and then all that came after', t => {
    const { tick, view, vhosts, serve } = start(t)
    const first = view()
    serve('aries.test')
    vhosts.emit('load', LOADED)
    const second = view()
    tick(1)
    assert.deepEqual([first, second].map(namesTold), [['aries.test'], ['aries.test']])
    assert.deepEqual([first, second].map(deploysTold), [1, 1])
  })

  it('sends a slow reader at once what has changed meanwhile, and not everything again', t => {
    const { tick, view, vhosts, serve } = start(t)
    const [reads, rests] = [view(), view()]
    rests.writableLength = 2 ** 24
    for (const name of ['aries.test', 'taurus.test', 'virgo.test']) {
      serve(name)
      vhosts.emit('load', LOADED)
      tick(1)
    }
    assert.equal(rests.written.length, 1)
    rests.writableLength = 0
    tick(1)
    const told = toldTo(rests)
    assert.deepEqual(
      told.map(({ rows, deploys, samples }) => [rows.length, deploys.length, samples]),
      [
        [0, 0, undefined],
        [3, 3, 4],
      ],
    )
    assert.equal(
      toldTo(reads).reduce((sum, { samples = 0 }) => sum + samples, 0),
      4,
    )
    tick(1)
    assert.equal(reads.written.at(-1), rests.written.at(-1))
  })

  it('goes on for as long as its charts reach after the last viewer has left, then rests', t => {
    const { asked, tick, view } = start(t)
    const res = view()
    tick(1)
    res.emit('close')
    tick(MAX_SAMPLES + 1)
    const before = asked()
    tick(MAX_SAMPLES)
    assert.equal(asked(), before)
    view()
    tick(1)
    assert.ok(asked() > before)
  })

  it('cuts off viewers that do not read when it ends', t => {
    const { close, tick, view } = start(t)
    const [reads, rests] = [view(), view()]
    close()
    tick(1)
    reads.emit('close')
    assert.ok(!rests.destroyed)
    tick(10)
    assert.deepEqual([reads.destroyed, rests.destroyed], [false, true])
  })
})

interface Told {
  rows: { hostnames: string[] }[]
  deploys: unknown[]
  samples?: number
}

function toldTo({ written }: { written: unknown[] }): Told[] {
  return written.map(bytes => JSON.parse(String(bytes).split('\ndata: ')[1] ?? ''))
}

function namesTold(viewer: { written: unknown[] }): string[] {
  return toldTo(viewer).flatMap(({ rows }) => rows.flatMap(({ hostnames }) => hostnames))
}

function deploysTold(viewer: { written: unknown[] }): number {
  return toldTo(viewer).flatMap(({ deploys }) => deploys).length
}

function start(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  let count = 0
  let isClosed = false
  const served: object[] = []
  const stats = () => {
    count++
    return { vhosts: [...served], totals: TOTALS, staleGraphs: 0, isClosed }
  }
  const vhosts = Object.assign(new EventEmitter(), { stats })
  const viewers = new Viewers(new Board(vhosts as unknown as VhostRouter))
  return {
    vhosts,
    asked: () => count,
    tick(samples: number): void {
      for (let i = 0; i < samples; i++) t.mock.timers.tick(SAMPLE_INTERVAL)
    },
    close(): void {
      isClosed = true
    },
    serve(name: string): void {
      served.push({
        hostnames: [name],
        realPath: `/srv/${name}`,
        state: 'serving',
        loadedAt: '',
        requests: 0,
      })
    },
    view(): EventEmitter & { destroyed: boolean; written: unknown[]; writableLength: number } {
      const written: unknown[] = []
      const res = Object.assign(new EventEmitter(), {
        destroyed: false,
        written,
        writableLength: 0,
        writeHead() {},
        flushHeaders() {},
        write: (bytes: unknown) => written.push(bytes) > 0,
        end() {},
        destroy() {
          res.destroyed = true
        },
      })
      viewers.add({ method: 'GET' } as IncomingMessage, res as unknown as ServerResponse)
      return res
    },
  }
}
