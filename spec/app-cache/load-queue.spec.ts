import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LoadQueue, type Urgency } from '../../lib/app-cache/load-queue.ts'

describe('LoadQueue', () => {
  it('runs as many loads at a time as it was made for', async () => {
    const { queue, begun, end } = loads(2)
    const runs = [queue('a'), queue('b'), queue('c')]
    await turns()
    assert.deepEqual(begun, ['a', 'b'])
    end('a')
    await runs[0]
    await turns()
    assert.deepEqual(begun, ['a', 'b', 'c'])
    end('b')
    end('c')
    assert.deepEqual(await Promise.all(runs), ['a', 'b', 'c'])
  })

  it('begins loads in the order of their arrival, first loads before reloads', async () => {
    const { queue, begun, end } = loads(1)
    const runs = [queue('a'), queue('b', 'reload'), queue('c', 'reload'), queue('d'), queue('e')]
    for (const name of ['a', 'd', 'e', 'b', 'c']) {
      await turns()
      end(name)
    }
    await Promise.all(runs)
    assert.deepEqual(begun, ['a', 'd', 'e', 'b', 'c'])
  })

  it('begins a load at once if there is room, also a reload', async () => {
    const { queue, begun, end } = loads(1)
    const run = queue('a', 'reload')
    assert.deepEqual(begun, ['a'])
    end('a')
    await run
  })

  it('passes on the place of a load that failed, or that threw synchronously', async () => {
    const queue = new LoadQueue(1)
    const fails = queue.run('first', async () => {
      throw new Error('rejects')
    })
    const throws = queue.run('first', () => {
      throw new Error('throws')
    })
    const works = queue.run('first', async () => 'works')
    await assert.rejects(fails, /rejects/)
    await assert.rejects(throws, /throws/)
    assert.equal(await works, 'works')
  })

  it('lets a reload go first after three first loads, so that its turn comes', async () => {
    const { queue, begun, end } = loads(1)
    const firsts = Array.from({ length: 8 }, (_, at) => `${at}`)
    const runs = [queue('a'), queue('r', 'reload'), queue('s', 'reload'), ...firsts.map(name => queue(name))]
    const order = ['a', '0', '1', '2', 'r', '3', '4', '5', 's', '6', '7']
    for (const name of order) {
      await turns()
      end(name)
    }
    await Promise.all(runs)
    assert.deepEqual(begun, order)
  })

  it('lets 100 first loads wait and refuses more with ERR_VHOST_OVERLOADED, 503 and Retry-After; never a reload', async () => {
    const { queue, begun, end } = loads(1)
    const runs = [queue('running')]
    for (let i = 0; i < 150; i++) runs.push(queue(`reload ${i}`, 'reload'))
    for (let i = 0; i < 100; i++) runs.push(queue(`first ${i}`))
    await assert.rejects(queue('one too many'), {
      code: 'ERR_VHOST_OVERLOADED',
      status: 503,
      headers: { 'Retry-After': '1' },
    })
    while (begun.length < runs.length) {
      end(begun.at(-1) as string)
      await turns()
    }
    end(begun.at(-1) as string)
    assert.equal((await Promise.all(runs)).length, 251)
    assert.ok(!begun.includes('one too many'))
  })

  it('gives half of the places to loads that took too long before, and the others to all other loads', async () => {
    const { queue, begun, end } = loads(4)
    const slow = ['s', 't', 'u', 'v'].map(name => queue(name, 'retry'))
    const runs = [queue('a'), queue('r', 'reload'), queue('b')]
    await turns()
    assert.deepEqual(begun, ['s', 't', 'a', 'r'])
    end('a')
    await turns()
    end('b')
    end('r')
    await turns()
    assert.deepEqual(begun.slice(4), ['b'], 'they do not take more, though there are places')
    end('s')
    await turns()
    assert.deepEqual(begun.slice(5), ['u'])
    runs.push(queue('c'), queue('d'), queue('e'))
    end('t')
    await turns()
    assert.deepEqual(begun.slice(6), ['c', 'd', 'e'], 'who waits for a first load goes before')
    for (const name of ['c', 'u']) {
      end(name)
      await turns()
    }
    assert.deepEqual(begun.slice(9), ['v'])
    for (const name of ['d', 'e', 'v']) end(name)
    await Promise.all([...slow, ...runs])
  })

  it('gives one of two or three places to such loads, one after the other', async () => {
    for (const places of [2, 3]) {
      const { queue, begun, end } = loads(places)
      const slow = ['s', 't', 'u'].map(name => queue(name, 'retry'))
      const run = queue('a')
      await turns()
      assert.deepEqual(begun, ['s', 'a'])
      end('s')
      await turns()
      end('a')
      await turns()
      assert.deepEqual(begun.slice(2), ['t'], 'one that has waited counts like one that has not')
      for (const name of ['t', 'u']) {
        end(name)
        await turns()
      }
      await Promise.all([...slow, run])
    }
  })

  it('gives even its only place to such a load, and refuses such loads when a hundred wait', async () => {
    const { queue, begun, end } = loads(1)
    const runs = Array.from({ length: 101 }, (_, at) => queue(`${at}`, 'retry'))
    await assert.rejects(queue('one too many', 'retry'), { code: 'ERR_VHOST_OVERLOADED' })
    while (begun.length < runs.length) {
      end(begun.at(-1) as string)
      await turns()
    }
    end(begun.at(-1) as string)
    assert.equal((await Promise.all(runs)).length, 101)
  })

  it('lets no newcomer take a place that is being passed on', async () => {
    const { queue, begun, end } = loads(1)
    const runs = [queue('a'), queue('b')]
    await turns()
    end('a')
    void runs[0]?.then(() => runs.push(queue('c')))
    await turns()
    assert.deepEqual(begun, ['a', 'b'])
    end('b')
    await turns()
    end('c')
    await Promise.all(runs)
    assert.deepEqual(begun, ['a', 'b', 'c'])
  })
})

function loads(maxConcurrent: number): {
  queue: (name: string, urgency?: Urgency) => Promise<string>
  begun: string[]
  end: (name: string) => void
} {
  const loadQueue = new LoadQueue(maxConcurrent)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  return {
    begun,
    end: name => ends.get(name)?.(),
    queue: (name, urgency = 'first') =>
      loadQueue.run(urgency, () => {
        begun.push(name)
        return new Promise(resolve => ends.set(name, () => resolve(name)))
      }),
  }
}

async function turns(): Promise<void> {
  await new Promise(resolve => setImmediate(resolve))
}
