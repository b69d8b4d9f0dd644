import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import type { Isolation } from '../../lib/index.ts'
import { World } from '../support/world.ts'

const require = createRequire(import.meta.url)
const HOST = 'aries.test'

/** The source of an exported router that needs, and answers with, what Express puts on requests. */
function routerOf(express: string): string {
  return `
    const router = require(${JSON.stringify(require.resolve(express))}).Router()
    router.get('/', (req, res) => res.status(201).json([req.query.a, req.hostname, req.protocol, req.baseUrl]))
    router.get('/boom', () => { throw new Error('boom') })
    module.exports = router`
}

describe('An exported router of Express', () => {
  for (const express of ['express', 'express4']) {
    for (const isolation of ['none', 'thread', 'process'] satisfies Isolation[]) {
      it(`finds on requests what Express puts there, isolation '${isolation}': ${express}`, async () => {
        await using world = await World.start({ isolation }, (app, vhosts) => app.use('/sub', vhosts))
        world.write(`${HOST}/app/index.js`, routerOf(express))
        const { status, body, headers } = await world.get(HOST, '/sub/?a=1')
        assert.deepEqual([status, body], [201, `["1","${HOST}","http","/sub"]`], String(world.errors[0]))
        assert.equal(headers['x-powered-by'], undefined)
        assert.equal((await world.get(HOST, '/sub/unknown')).body, `nobody serves ${HOST}`)
        assert.equal((await world.get(HOST, '/sub/boom')).body, 'outer error')
        assert.equal(String(world.errors[0]), 'Error: boom')
      })
    }

    it(`finds it without an Express app around the vhosts: ${express}`, async () => {
      await using world = new World()
      world.server = createServer((req, res) =>
        world.vhosts(req, res, error => res.writeHead(error ? 500 : 404).end(String(error))),
      ).listen(0) as Server
      await new Promise(resolve => world.server.once('listening', resolve))
      world.write(`${HOST}/app/index.js`, routerOf(express))
      const { status, body } = await world.get(HOST, '/?a=1')
      assert.deepEqual([status, body], [201, `["1","${HOST}","http",""]`])
      assert.deepEqual((await world.get(HOST, '/unknown')).status, 404)
      assert.equal((await world.get(HOST, '/boom')).body, 'Error: boom')
    })

    it(`finds it when it is probed: ${express}`, async () => {
      await using world = await World.start()
      world.write(`${HOST}/package.json`, '{"vhost": {"probe": {"path": "/", "status": 201}}}')
      world.write(`${HOST}/app/index.js`, routerOf(express))
      assert.equal((await world.get(HOST)).status, 201, String(world.errors[0]))
    })
  }
})
