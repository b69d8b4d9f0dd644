import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { describe, it } from 'node:test'
import { World } from '../support/world.ts'

/** A world in which the router, or its static(), is itself the server's listener. */
async function alone(listener: (world: World) => RequestListener): Promise<World> {
  const world = new World()
  world.server = createServer(listener(world)).listen(0)
  await new Promise(resolve => world.server.once('listening', resolve))
  return world
}

describe('Without next', () => {
  it('the router itself answers what no vhost does: with 404, or the status of an error', async t => {
    const told = t.mock.method(console, 'error', () => {})
    await using world = await alone(({ vhosts }) => vhosts)
    world.vhosts.on('error', () => {})
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => {
         if (req.url === '/next') next()
         else if (req.url === '/boom') throw Object.assign(new Error('boom'), { status: 418 })
         else if (req.url === '/late') { res.write('begun'); next(new Error('late')) }
         else res.end('aries')
       }`,
    )
    world.write('leo.test/app/index.js', 'throw new Error("broken")')
    assert.equal(await world.body('aries.test'), 'aries')
    for (const [host, path, status, body] of [
      ['aries.test', '/next', 404, 'Not Found\n'],
      ['nobody.test', '/', 404, 'Not Found\n'],
      ['aries.test', '/boom', 418, "I'm a Teapot\n"],
      ['leo.test', '/', 500, 'Internal Server Error\n'],
      ['a b', '/', 400, 'Bad Request\n'],
    ] as const) {
      const answer = await world.get(host, path)
      assert.deepEqual([answer.status, answer.body], [status, body], host + path)
    }
    await assert.rejects(world.get('aries.test', '/late'), { code: 'ECONNRESET' })
    assert.deepEqual(
      told.mock.calls.map(({ arguments: [error] }) => (error as Error).message),
      ['boom', 'late'],
    )
  })

  it('so does static()', async () => {
    await using world = await alone(({ vhosts }) => vhosts.static())
    world.write('aries.test/static/a.txt', 'a')
    assert.equal(await world.body('aries.test', '/a.txt'), 'a')
    assert.equal((await world.get('aries.test', '/b.txt')).status, 404)
    assert.equal((await world.get('nobody.test')).status, 404)
    assert.equal((await world.get('aries.test', '/%')).status, 400)
  })

  it('both still take three parameters, by which others recognize middleware', () => {
    const { vhosts } = new World()
    assert.deepEqual([vhosts.length, vhosts.static().length], [3, 3])
  })
})
