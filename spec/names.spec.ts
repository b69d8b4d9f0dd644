import assert from 'node:assert/strict'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { build, treesOf } from './support/tree.ts'
import { World } from './support/world.ts'

const trees = treesOf(readFileSync('README.md', 'utf8'))

describe('The folder trees of README', () => {
  it('are four', () => assert.equal(trees.length, 4))

  for (const tree of trees) {
    it(`answer as it says there by ${JSON.stringify(tree.vhostDir)}`, async () => {
      await using world = await World.start({ vhostDir: tree.vhostDir })
      build(world, tree)
      for (const { path, hosts } of tree.entries) {
        for (const host of hosts) {
          const vhost = world.path(path.replace(/\/app\/$/, ''))
          const current = join(vhost, 'current')
          assert.equal(await world.body(host), realpathSync(existsSync(current) ? current : vhost), host)
        }
      }
    })
  }

  it('end the search at a `current` that leads nowhere', async () => {
    const tree = trees.find(({ entries }) => entries.some(({ target }) => target === 'releases/9'))
    assert.ok(tree)
    await using world = await World.start({ vhostDir: tree.vhostDir })
    build(world, tree)
    assert.equal((await world.get('libra.example.com')).status, 404)
    assert.equal((await world.get('virgo.example.com')).status, 200)
  })

  it('give a name of its own to what redirects', async () => {
    await using world = await World.start()
    world.write(
      'www.aries.test/app/index.js',
      /`(module\.exports.*?)`/.exec(readFileSync('README.md', 'utf8'))?.[1] ?? '',
    )
    const { status, headers } = await world.get('www.aries.test', '/path?query')
    assert.equal(status, 308)
    assert.equal(headers.location, 'https://aries.example.com/path?query')
  })
})
