import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Upstreams } from '../../lib/launch/upstreams.ts'
import { resolveOptions } from '../../lib/options.ts'
import { socketFolders } from '../support/isolated.ts'
import { World } from '../support/world.ts'

describe('Upstreams', () => {
  it('make no socket folder if they are closed before the first app needs one', async () => {
    await using world = new World()
    world.site('aries.test', 'aries')
    const before = [socketFolders(), process.listenerCount('exit')]
    const nothing = (): void => {}
    const upstreams = new Upstreams(resolveOptions({ basePath: world.path() }), nothing, nothing)
    const release = { realPath: world.path('aries.test'), version: 1 }
    const own = { env: {} } as Parameters<Upstreams['launch']>[2]
    const launched = upstreams.launch(release, 'process', own, async () => assert.fail('it was started'))
    await Promise.all([upstreams.close(), assert.rejects(launched, { code: 'ERR_VHOST_CLOSED' })])
    assert.deepEqual([socketFolders(), process.listenerCount('exit')], before)
  })

  it('say of a release that is removed before its process starts what is missing', async () => {
    let removed = false
    await using world = await World.start({
      isolation: 'process',
      // Called once the entry has been found.
      env: () => {
        if (!removed) world.remove('aries.test/app')
        removed = true
        return {}
      },
    })
    world.site('aries.test', 'aries')
    assert.equal((await world.get('aries.test')).status, 404)
    const [{ error } = assert.fail('no event')] = world.events('error')
    assert.match(error.message, /no entry module/)
    assert.equal(error.cause, undefined)
    world.site('aries.test', 'aries')
    assert.equal(await world.body('aries.test'), 'aries')
  })
})
