import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { runChild } from '../support/child.ts'
import { chooseBenches } from './benches.ts'
import { comparedWith } from './decay.ts'
import { Exchanges } from './exchanges.ts'
import { figureOf, median, medianOf, numberOf, quantile } from './figure.ts'
import { KeepAliveClients, requestTo } from './keep-alive-clients.ts'
import type { Measure } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, roundByRound } from './rounds.ts'
import { verdictOf } from './verdict.ts'
import { inWords } from './wording.ts'

const measureOf = (ours: number, bare: number): Measure => ({
  name: 'median of 40 flips',
  unit: 'ms',
  ours: figureOf(ours),
  beside: { bare: figureOf(bare) },
  limit: 10,
  yardstick: 'bare',
})

describe('bench', () => {
  describe('figures', () => {
    it('are medians with quartiles', () => {
      assert.equal(median([3, 1, 2]), 2)
      assert.equal(median([4, 1, 2, 3]), 2.5)
      assert.deepEqual(medianOf([5, 1, 2, 3, 4]), { value: 3, low: 2, high: 4, samples: 5 })
    })

    it('are quantiles by nearest rank', () => {
      const samples = Array.from({ length: 40 }, (_, n) => 40 - n)
      assert.equal(quantile(samples, 0.99), 40)
      assert.equal(quantile(samples, 0.25), 10)
    })

    it('are never 0 for lack of samples', () => {
      assert.deepEqual(medianOf([]), { reason: 'no sample' })
      assert.deepEqual(medianOf([Number.NaN]), { reason: 'a sample is no number' })
      assert.equal(numberOf({ reason: 'no sample' }), undefined)
      assert.equal(inWords({ reason: 'no sample' }, 'ms'), 'not measured: no sample')
    })

    it('say for a maximum that the other figures are quartiles, and show no -0', () => {
      assert.equal(inWords(figureOf(2, [1, 2, 3]), 'ms'), '2 ms (1 to 3)')
      assert.equal(inWords(figureOf(9, [1, 2, 3, 9]), 'ms'), '9 ms (quartiles 1 to 3)')
      assert.equal(inWords(figureOf(-0.001), 'MB'), '0 MB')
    })

    it('from peers measured elsewhere name their source', () => {
      const { 'Passenger, elsewhere': passenger } = measuredElsewhere('flip')
      assert.match(passenger?.source ?? '', /^Passenger 6/)
      assert.throws(() => measuredElsewhere('flop'), /nothing is recorded of flop/)
    })
  })

  describe('rounds', () => {
    it('include each contender once, in any order, and leave out the warm-up', async () => {
      const orders: string[] = []
      const contender = (name: string) => (round: number) => {
        orders[round] = (orders[round] ?? '') + name
        return round
      }
      const samples = await interleaved(
        { a: contender('a'), b: contender('b'), c: contender('c') },
        { rounds: 200, warmUp: 1 },
      )
      assert.deepEqual([...new Set(orders)].sort(), ['abc', 'acb', 'bac', 'bca', 'cab', 'cba'])
      const rounds = Array.from({ length: 200 }, (_, round) => round + 1)
      assert.deepEqual(samples, { a: rounds, b: rounds, c: rounds })
    })

    it('are compared one by one, leaving out those with a missing sample', () => {
      assert.deepEqual(
        roundByRound([5, undefined, 7], [1, 2, 3], (one, other) => one - other),
        [4, 4],
      )
    })
  })

  it('says whether a target is met, or that it was not measured', () => {
    assert.equal(verdictOf(measureOf(10, 1)), 'met')
    assert.equal(verdictOf(measureOf(11, 1)), 'missed')
    assert.equal(verdictOf({ ...measureOf(1, 1), ours: { reason: 'no sample' } }), 'not measured')
  })

  describe('a decay', () => {
    const recorded = [measureOf(4, 2)]

    it('is more than twice the recorded ratio to the yardstick, whatever the machine', () => {
      for (const [ours, bare, isDecayed] of [
        [4, 2, false],
        [80, 40, false],
        [4, 1, false],
        [4.1, 1, true],
      ] as const) {
        const [comparison] = comparedWith(recorded, [measureOf(ours, bare)])
        assert.equal(comparison?.isDecayed, isDecayed, `${ours} to ${bare}`)
      }
    })

    it('is judged by the lower quartiles: other work of the machine only adds', () => {
      const noisy = { ...measureOf(0, 1), ours: figureOf(30, [2, 2, 30, 40, 50]) }
      const slower = { ...measureOf(0, 1), ours: figureOf(30, [9, 9, 30, 40, 50]) }
      const decays = [noisy, slower].map(measure => comparedWith(recorded, [measure])[0]?.isDecayed)
      assert.deepEqual(decays, [false, true])
    })

    it('is looked for in the short form too, which has fewer flips', () => {
      const short = { ...measureOf(9, 1), name: 'median of 25 flips' }
      assert.equal(comparedWith(recorded, [short])[0]?.isDecayed, true)
    })

    it('does not concern what was not measured, or has no yardstick', () => {
      assert.deepEqual(comparedWith(recorded, [{ ...measureOf(9, 1), ours: { reason: 'no sample' } }]), [])
      assert.deepEqual(comparedWith(undefined, [measureOf(9, 1)]), [])
      const { yardstick: _, ...without } = measureOf(9, 1)
      assert.deepEqual(comparedWith(recorded, [without]), [])
    })
  })

  describe('names', () => {
    const all = ['http', 'flip', 'flips-under-load', 'cold-load']

    it('choose the benches that contain one of them, or the one that equals it', () => {
      assert.deepEqual(chooseBenches([], all), all)
      assert.deepEqual(chooseBenches(['load', 'http'], all), ['http', 'flips-under-load', 'cold-load'])
      assert.deepEqual(chooseBenches(['flip'], all), ['flip'])
    })

    it('that match no bench end the run with an error', async () => {
      const run = new URL('./run.js', import.meta.url).href
      const { code, errors } = await runChild(`process.argv.push('flop'); await import('${run}')`)
      assert.equal(code, 1)
      assert.match(errors, /no bench is named flop; there are http, dispatch/)
    })
  })

  it('collects requests as Node has parsed them, and answers them at the end', async () => {
    using exchanges = new Exchanges()
    for (const hosts of [['a.test', 'b.test'], ['c.test']]) {
      const collected = await exchanges.collect(hosts)
      assert.deepEqual(collected.map(({ req }) => req.headers.host).sort(), hosts)
      await exchanges.answer()
      assert.ok(collected.every(({ res }) => res.writableFinished))
    }
  })

  it('has clients that count only answers with 200', async () => {
    const server = createServer((req, res) => {
      res.statusCode = req.headers.host === 'a.test' ? 200 : 404
      res.end('hello')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    using clients = new KeepAliveClients((server.address() as AddressInfo).port, 2)
    try {
      assert.ok((await clients.run(20, () => requestTo('a.test'))) >= 2)
      await assert.rejects(
        clients.run(20, () => requestTo('b.test')),
        /not served: HTTP\/1.1 404/,
      )
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})
