import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Random } from './soak/random.ts'
import { unchanged } from './support/unchanged.ts'
import { eventually, World } from './support/world.ts'

const HOST = 'aries.test'
const CLIENTS = 50
/** More connections than the clients leave behind. */
const POOLED = 60

for (const isolation of ['thread', 'process'] as const) {
  describe(`the process, isolation: '${isolation}',`, () => {
    it('and the app are as they were after 10,000 clients that left at random moments', {
      timeout: 200_000,
    }, async t => {
      await using world = await World.start({ isolation })
      const random = new Random('1')
      world.write(
        `${HOST}/app/index.js`,
        `const piece = Buffer.alloc(1000); let begun = 0; let ended = 0; let waiting = []
         module.exports = (req, res) => {
           if (req.url === '/open') return res.end(String(begun - ended))
           if (req.url === '/meet') {
             if (waiting.push(res) === ${POOLED}) for (const res of waiting.splice(0)) res.end()
             return
           }
           begun++
           res.on('close', () => ended++)
           req.resume()
           res.write(piece)
           setTimeout(() => res.end(piece), 2)
         }`,
      )
      await world.body(HOST, '/open')
      const abort = (count: number) => async (): Promise<void> => {
        await abortAtRandom(world.port, count, random)
        await eventually(() => world.vhosts.stats().totals.inFlight === 0)
        await eventually(async () => (await world.body(HOST, '/open')) === '0')
        // The number of idle connections to the app is random; this makes it the same each time.
        await Promise.all(Array.from({ length: POOLED }, () => world.get(HOST, '/meet', { agent: false })))
      }
      await unchanged(t, world, abort(500), abort(10_000))
      assert.deepEqual(world.events('evict'), [])
    })

    it('does not ask the app for clients that left while it was loading', async () => {
      await using world = await World.start({ isolation })
      world.write(
        `${HOST}/app/index.mjs`,
        `import { setTimeout as delay } from 'node:timers/promises'
         await delay(300)
         const asked = []
         export default (req, res) => { asked.push(req.url); res.end(asked.join()) }`,
      )
      const socket = connect(world.port, '127.0.0.1').on('error', () => {})
      socket.write(`GET /gone HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`.repeat(2))
      await eventually(() => world.vhosts.stats().vhosts[0]?.state === 'loading')
      socket.destroy()
      await eventually(
        () =>
          new Promise<boolean>(resolve => world.server.getConnections((_, count) => resolve(count === 0))),
      )
      assert.equal(world.vhosts.stats().vhosts[0]?.state, 'loading')
      assert.equal(await world.body(HOST, '/here'), '/here')
      assert.equal(world.vhosts.stats().totals.inFlight, 0)
    })

    it('lets an app live that drops hundreds of clients at once', { timeout: 60_000 }, async () => {
      await using world = await World.start({ isolation })
      world.write(
        `${HOST}/app/index.js`,
        `const held = []
         module.exports = (req, res) => {
           if (req.url === '/held') return res.end(String(held.length))
           if (req.url === '/hold') return held.push(res)
           for (const res of held.splice(0)) res.destroy()
           res.end()
         }`,
      )
      await world.body(HOST, '/held')
      const clients = Array.from({ length: 500 }, () => world.get(HOST, '/hold', { agent: false }))
      await eventually(async () => (await world.body(HOST, '/held')) === '500')
      await world.get(HOST, '/drop')
      const statuses = new Set((await Promise.all(clients)).map(({ status }) => status))
      assert.deepEqual([...statuses], [502])
      assert.deepEqual(world.events('evict'), [])
    })
  })
}

/** Requests, pipelined requests and uploads; each client leaves within 8 ms. */
async function abortAtRandom(port: number, count: number, random: Random): Promise<void> {
  let left = count
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      const get = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
      const upload = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 100\r\n\r\nsome`
      socket.write(random.next() < 0.3 ? upload : get.repeat(random.next() < 0.2 ? 3 : 1))
      await once(socket, 'connect')
      await delay(random.next() * 8)
      socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
}
