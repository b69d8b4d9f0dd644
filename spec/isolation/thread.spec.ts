import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { World } from '../support/world.ts'
import { behaves } from './behaves.ts'

describe("isolation: 'thread'", () => {
  behaves('thread')

  it('an app that sends itself SIGUSR1 does not open the inspector of the router', async () => {
    await using world = await World.start({ isolation: 'thread' })
    const send = `module.exports = (req, res) => { process.kill(process.pid, 'SIGUSR1'); res.end('sent') }`
    world.write('aries.test/app/index.js', send)
    world.write(
      'leo.test/app/index.js',
      `let heard = 0
       process.on('SIGUSR1', () => heard++)
       ${send.replace("'sent'", 'String(heard)')}`,
    )
    let heard = 0
    process.on('SIGUSR1', () => heard++)
    try {
      assert.equal(await world.body('aries.test'), 'sent')
      assert.equal(await world.body('leo.test'), '1')
      assert.equal(await world.body('aries.test'), 'sent')
      // Earlier signals have arrived by then.
      process.kill(process.pid, 'SIGUSR1')
      await once(process, 'SIGUSR1')
      assert.equal(heard, 1)
      assert.deepEqual(world.events('evict'), [])
    } finally {
      process.removeAllListeners('SIGUSR1')
    }
  })
})
