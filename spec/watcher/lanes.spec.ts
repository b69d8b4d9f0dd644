import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { inLanes } from '../../lib/watcher/lanes.ts'

const PATIENCE = 10_000

describe('inLanes', () => {
  it('acts on each item once, in order, on this many at a time', async () => {
    const begun: number[] = []
    let [running, most] = [0, 0]
    const items = Array.from({ length: 20 }, (_, n) => n)
    await inLanes(items, act, 3, PATIENCE)
    assert.deepEqual(begun, items)
    assert.deepEqual([most, running], [3, 0])

    async function act(item: number): Promise<void> {
      begun.push(item)
      most = Math.max(most, ++running)
      await delay(1)
      running--
    }
  })

  it('does not hold a lane for an item that needs no waiting', async () => {
    const begun: number[] = []
    await inLanes([1, 2, 3], item => void begun.push(item), 1, PATIENCE)
    assert.deepEqual(begun, [1, 2, 3])
  })

  it('resolves if there is nothing to do', async () => {
    await inLanes([], () => assert.fail(), 1, PATIENCE)
  })

  it('keeps the lane of an item that has not taken too long yet', async t => {
    let end = (): void => {}
    const slow = new Promise<void>(resolve => {
      end = resolve
    })
    const looks: (() => void)[] = []
    t.mock.method(performance, 'now', () => 2 * PATIENCE)
    t.mock.method(globalThis, 'setInterval', (look: () => void) => {
      looks.push(look)
      return { unref: () => undefined }
    })
    const begun: number[] = []
    const over = inLanes([1, 2], act, 1, PATIENCE)
    for (const look of looks) look()
    assert.deepEqual([begun, looks.length], [[1], 1])
    end()
    await over
    assert.deepEqual(begun, [1, 2])

    async function act(item: number): Promise<void> {
      begun.push(item)
      await slow
    }
  })

  it('gives the lane of an item that takes too long to the next, but no second lane when it ends', async () => {
    let end = (): void => {}
    const hung = new Promise<void>(resolve => {
      end = resolve
    })
    const begun: number[] = []
    let [running, most] = [0, 0]
    // The wait itself does not keep the process alive.
    const holding = setInterval(() => {}, PATIENCE)
    const start = performance.now()
    await inLanes([1, 2, 3, 4, 5, 6], act, 2, 40)
    clearInterval(holding)
    assert.deepEqual(begun, [1, 2, 3, 4, 5, 6])
    assert.equal(most, 2)
    assert.ok(performance.now() - start >= 40)

    async function act(item: number): Promise<void> {
      begun.push(item)
      if (item < 3) return await hung
      most = Math.max(most, ++running)
      end()
      await delay(2)
      running--
    }
  })
})
