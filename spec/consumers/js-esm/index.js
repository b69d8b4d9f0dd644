import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import express from 'express'
import vhostRouterByDefault, { vhostRouter } from 'express-van'

assert.equal(vhostRouterByDefault, vhostRouter)

const basePath = mkdtempSync(join(tmpdir(), 'express-van-js-esm-'))
mkdirSync(join(basePath, 'aries.test/app'), { recursive: true })
writeFileSync(
  join(basePath, 'aries.test/app/index.js'),
  "module.exports = (req, res) => res.end('aries sees ' + req.vhost.hostname)",
)

const vhosts = vhostRouter({ basePath })
const server = express().use(vhosts.static()).use(vhosts).listen(0, '127.0.0.1')
server.on('upgrade', vhosts.upgrade)
try {
  await once(server, 'listening')
  assert.deepEqual(await get('aries.test'), [200, 'aries sees aries.test'])
  assert.equal((await get('taurus.test'))[0], 404)
} finally {
  await vhosts.close()
  server.close()
  rmSync(basePath, { recursive: true })
}
console.log('ok js-esm')

async function get(host) {
  const { port } = server.address()
  const request = http.get({ host: '127.0.0.1', port, headers: { host }, agent: false })
  const [response] = await once(request, 'response')
  return [response.statusCode, await text(response)]
}
