import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { ErrorRequestHandler, RequestHandler } from 'express'
import { VhostError, type VhostErrorCode, vhostRouter } from 'express-van'

import assert = require('node:assert/strict')
import http = require('node:http')
import express = require('express')

async function main(): Promise<void> {
  const basePath = mkdtempSync(join(tmpdir(), 'express-van-ts-cjs-'))
  mkdirSync(join(basePath, 'aries.test/static'), { recursive: true })

  const vhosts = vhostRouter({ basePath })
  const app = express()
  app.use(vhosts.static())
  app.use(vhosts)
  const handler: RequestHandler = vhosts
  app.get('/other', handler, vhosts.static({ dir: 'other' }))
  app.use('/mounted', express.Router().use(vhosts))
  app.use((req, res) => {
    const hostname: string | undefined = req.vhost?.hostname
    // @ts-expect-error Not `any`: a member that does not exist is an error.
    void req.vhost?.nothing
    res.send(`no app for ${hostname}`)
  })
  const onError: ErrorRequestHandler = (error: unknown, req, res, next) => {
    if (error instanceof VhostError && !res.headersSent) {
      const code: VhostErrorCode = error.code
      res.status(error.status).set(error.headers).send(`${code} ${req.vhost?.host}`)
    } else {
      next(error)
    }
  }
  app.use(onError)
  const server = app.listen(0, '127.0.0.1')
  server.on('upgrade', vhosts.upgrade)
  try {
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const request = http.get({ host: '127.0.0.1', port, headers: { host: 'aries.test' }, agent: false })
    const response: http.IncomingMessage = (await once(request, 'response'))[0]
    assert.equal(await text(response), 'no app for aries.test')
  } finally {
    await vhosts.close()
    server.close()
    rmSync(basePath, { recursive: true })
  }
  console.log('ok ts-cjs with express')
}

void main()
