const assert = require('node:assert/strict')
const { once } = require('node:events')
const { mkdirSync, mkdtempSync, rmSync, writeFileSync } = require('node:fs')
const http = require('node:http')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { text } = require('node:stream/consumers')
const express = require('express')
const { vhostRouter } = require('express-van')

assert.equal(require('express-van').default, vhostRouter)
assert.equal(typeof require('express-van/tls').vhostTls, 'function')
assert.equal(typeof require('express-van/status-page').statusPage, 'function')
assert.equal(require('express-van/error-page').errorPage().length, 4)

async function main() {
  const basePath = mkdtempSync(join(tmpdir(), 'express-van-js-cjs-'))
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
    assert.deepEqual(await get(server, 'aries.test'), [200, 'aries sees aries.test'])
    assert.equal((await get(server, 'taurus.test'))[0], 404)
  } finally {
    await vhosts.close()
    server.close()
    rmSync(basePath, { recursive: true })
  }
  console.log('ok js-cjs')
}

async function get(server, host) {
  const { port } = server.address()
  const request = http.get({ host: '127.0.0.1', port, headers: { host }, agent: false })
  const [response] = await once(request, 'response')
  return [response.statusCode, await text(response)]
}

void main()
