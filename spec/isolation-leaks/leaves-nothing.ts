import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { unchanged } from '../support/unchanged.ts'
import { eventually, World } from '../support/world.ts'

const HOST = 'aries.test'
/** Each reload starts a thread or a process, so only the run of all checks does two hundred. */
const RELOADS = Number(process.env.SPEC_RELOADS ?? 60)
const FAILURES = RELOADS / 2

/** What apps in threads or processes leave in the process of the router. */
export function leavesNothing(isolation: 'thread' | 'process'): void {
  describe(`the process, isolation: '${isolation}',`, { concurrency: 1 }, () => {
    it(`is as it was after ${RELOADS} reloads`, async t => {
      await using world = await World.start({ isolation })
      const reload = (count: number) => async (): Promise<void> => {
        for (let time = 0; time < count; time++) {
          world.site(HOST, String(time))
          await world.vhosts.reload(HOST)
          assert.equal(await world.body(HOST), String(time))
        }
        await eventually(() => world.vhosts.stats().totals.draining === 0)
      }
      world.site(HOST, 'first')
      await world.body(HOST)
      await unchanged(t, world, reload(20), reload(RELOADS))
    })

    it(`is as it was after ${FAILURES} crashes`, async t => {
      // One crash per site: an app that crashes again and again has to wait before it restarts.
      await using world = await World.start({ isolation, maxApps: 5 })
      let sites = 0
      const crash = (count: number) => async (): Promise<void> => {
        for (let time = 0; time < count; time++) {
          const host = `aries-${sites++}.test`
          world.write(
            `${host}/app/index.js`,
            'module.exports = (req, res) => { if (req.url === "/crash") process.exit(1); res.end("ok") }',
          )
          assert.equal(await world.body(host), 'ok')
          assert.equal((await world.get(host, '/crash', { method: 'POST' })).status, 502)
          assert.equal(await world.body(host), 'ok')
        }
        await eventually(() => world.vhosts.stats().totals.draining === 0)
      }
      await unchanged(t, world, crash(10), crash(FAILURES))
    })

    it(`is as it was after ${FAILURES} releases that do not load`, async t => {
      await using world = await World.start({ isolation })
      world.site(HOST, 'old')
      await world.body(HOST)
      const fail = (count: number) => async (): Promise<void> => {
        for (let time = 0; time < count; time++) {
          world.write(`${HOST}/app/index.js`, `throw new Error('${time}')`)
          await assert.rejects(world.vhosts.reload(HOST), { code: 'ERR_VHOST_LOAD' })
          assert.equal(await world.body(HOST), 'old')
        }
      }
      await unchanged(t, world, fail(10), fail(FAILURES))
    })
  })
}
