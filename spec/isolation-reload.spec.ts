import assert from 'node:assert/strict'
import http from 'node:http'
import { describe, it } from 'node:test'
import { eventually, World } from './support/world.ts'

const HOST = 'aries.test'
const LENGTH = 300_000
const PARTS = 10
/** Each reload starts a thread or a process, so only the run of all checks does a hundred. */
const RELOADS = Number(process.env.SPEC_RELOADS ?? 60) / 2

const APP = `
module.exports = (req, res) => {
  if (req.method === 'POST') upload(req, res)
  else if (req.url === '/slow') download(res, ${PARTS})
  else res.end('aries')
}
function upload(req, res) {
  let length = 0
  req.on('data', chunk => { length += chunk.length }).on('end', () => res.end(String(length)))
}
function download(res, left) {
  res.write('part ')
  setTimeout(() => left > 1 ? download(res, left - 1) : res.end('last'), 20)
}
`

for (const isolation of ['thread', 'process'] as const) {
  describe(`${RELOADS} reloads under load, isolation: '${isolation}':`, () => {
    it('no request, download or upload fails, and only the last app is left', {
      timeout: 180_000,
    }, async () => {
      await using world = await World.start({ isolation })
      world.write(`${HOST}/app/index.js`, APP)
      await world.body(HOST)
      let isOver = false
      const wrong: string[] = []
      const agent = new http.Agent({ keepAlive: true })
      const ask = async (path: string, options: { body?: string }, wanted: string): Promise<number> => {
        const method = options.body === undefined ? 'GET' : 'POST'
        let answered = 0
        for (; !isOver; answered++) {
          const { status, body } = await world.get(HOST, path, { agent, method, ...options })
          if (status !== 200 || body !== wanted) wrong.push(`${status} ${body}`)
        }
        return answered
      }
      const clients = [
        ...Array.from({ length: 4 }, () => ask('/', {}, 'aries')),
        ...Array.from({ length: 2 }, () => ask('/slow', {}, `${'part '.repeat(PARTS)}last`)),
        ask('/', { body: 'u'.repeat(LENGTH) }, String(LENGTH)),
      ]
      for (let reload = 0; reload < RELOADS; reload++) await world.vhosts.reload(HOST)
      isOver = true
      const counts = await Promise.all(clients)
      agent.destroy()
      assert.deepEqual(wrong, [])
      assert.ok(Math.min(...counts) > 10, counts.join())
      await eventually(() => world.events('evict').length === RELOADS)
      assert.equal(world.vhosts.stats().totals.draining, 0)
    })
  })
}
