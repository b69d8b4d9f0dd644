import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findEntryModule } from '../../lib/launch/entry-module.ts'
import { World } from '../support/world.ts'

describe('findEntryModule', () => {
  it('takes the entry that was last found, and looks for another one only if that is gone', async () => {
    await using world = new World()
    world.site('aries.test', 'aries')
    world.write('aries.test/app/other.js', '0')
    const [folder, entry, other] = ['', 'app/index.js', 'app/other.js'].map(name =>
      world.path('aries.test', name),
    )
    const find = async (last?: string): Promise<string> =>
      (await findEntryModule(folder as string, 'app', undefined, last)).path
    assert.deepEqual([await find(), await find(other)], [entry, other])
    world.remove('aries.test/app/other.js')
    assert.equal(await find(other), entry)
    world.write('aries.test/app/other.js/index.js', '')
    assert.equal(await find(other), entry)
  })

  it('refuses an entry that leads out of the release, though it was last found there', async () => {
    await using world = new World()
    world.site('taurus.test', 'taurus')
    world.link('aries.test/app/index.js', world.path('taurus.test/app/index.js'))
    await assert.rejects(
      findEntryModule(world.path('aries.test'), 'app', undefined, world.path('aries.test/app/index.js')),
      /lies outside of the release/,
    )
  })
})
