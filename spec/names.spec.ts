import assert from 'node:assert/strict'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { RequestHandler } from 'express'
import type { VhostInfo } from '../lib/index.ts'
import { build, treesOf } from './support/tree.ts'
import { World } from './support/world.ts'

const require = createRequire(import.meta.url)
// The package comes without types.
const vhost: (pattern: RegExp, handle: (req: Routed, res: ServerResponse) => void) => RequestHandler =
  require('vhost')

const trees = treesOf(readFileSync('README.md', 'utf8'))

interface Routed extends IncomingMessage {
  vhost: VhostInfo
}

describe('The folder trees of README', () => {
  it('are four', () => assert.equal(trees.length, 4))

  for (const tree of trees) {
    it(`answer as README says, by ${JSON.stringify(tree.vhostDir)}`, async () => {
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

  it('give a redirecting app a name of its own', async () => {
    await using world = await World.start()
    world.write(
      'www.aries.test/app/index.js',
      /```js\n(module\.exports =[^`]*)```/.exec(readFileSync('README.md', 'utf8'))?.[1] ?? '',
    )
    const { status, headers } = await world.get('www.aries.test', '/path?query')
    assert.equal(status, 308)
    assert.equal(headers.location, 'https://aries.example.com/path?query')
  })
})

describe('req.vhost', () => {
  it('is for an app what the vhost package would make it', async () => {
    const matching = vhost(/^[^.]+\.(.+)\.(test)$/, (req, res) => {
      const { host, hostname, length, 0: first, 1: second } = req.vhost
      res.end([host, hostname, length, first, second].join(' '))
    })
    await using theirs = await World.start({}, app => app.use(matching))
    await using ours = await World.start({ vhostDir: '%2/%-1' })
    ours.write(
      'any/test/app/index.js',
      'module.exports = ({ vhost: { host, hostname, length, 0: a, 1: b } }, res) => res.end([host, hostname, length, a, b].join(" "))',
    )
    for (const host of ['www.any.test', 'www.any.test:8080', 'a.any.test']) {
      assert.equal(await ours.body(host), await theirs.body(host))
    }
  })
})
