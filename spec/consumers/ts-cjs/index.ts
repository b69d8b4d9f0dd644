import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import vhostRouterByDefault, { type VhostExplanation, type VhostRouter, vhostRouter } from 'express-van'

import assert = require('node:assert/strict')
import http = require('node:http')
import required = require('express-van')

assert.equal(vhostRouterByDefault, vhostRouter)
assert.equal(required.default, required.vhostRouter)

async function main(): Promise<void> {
  const basePath = mkdtempSync(join(tmpdir(), 'express-van-ts-cjs-'))
  mkdirSync(join(basePath, 'aries.test/app'), { recursive: true })
  writeFileSync(
    join(basePath, 'aries.test/app/index.js'),
    "module.exports = (req, res) => res.end('aries sees ' + req.vhost.hostname)",
  )

  const vhosts: VhostRouter = vhostRouter({ basePath })
  const documents = vhosts.static()
  const server = http.createServer((req, res) => {
    documents(req, res, () => vhosts(req, res, error => res.writeHead(error ? 500 : 404).end()))
  })
  server.on('upgrade', vhosts.upgrade)
  server.listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    assert.deepEqual(await get(server, 'aries.test'), [200, 'aries sees aries.test'])
    assert.equal((await get(server, 'taurus.test'))[0], 404)

    const explanation: VhostExplanation = await vhosts.why('aries.test')
    assert.equal(explanation.outcome, 'app')
  } finally {
    await vhosts.close()
    server.close()
    rmSync(basePath, { recursive: true })
  }
  console.log('ok ts-cjs')
}

async function get(server: http.Server, host: string): Promise<[status: number | undefined, body: string]> {
  const { port } = server.address() as AddressInfo
  const request = http.get({ host: '127.0.0.1', port, headers: { host }, agent: false })
  const response: http.IncomingMessage = (await once(request, 'response'))[0]
  return [response.statusCode, await text(response)]
}

void main()
