import assert from 'node:assert/strict'
import http from 'node:http'
import { describe, it } from 'node:test'
import fastify from 'fastify'
import { frameworkAnswer } from '../../lib/handler/framework-app.ts'

describe('frameworkAnswer', () => {
  it('is the server of Fastify, on which others may listen too', async () => {
    const app = fastify()
    assert.equal(await frameworkAnswer(app), app.server)
    await app.close()
  })

  it('is the routing function of Fastify if its server does not speak HTTP/1', async () => {
    const app = fastify({ http2: true })
    assert.equal(await frameworkAnswer(app as object), app.routing)
    await app.close()
  })

  it('is the server of NestJS on Fastify, made ready', async () => {
    const app = fastify()
    let isReady = false
    app.addHook('onReady', async () => {
      isReady = true
    })
    const nest = {
      init: async () => {},
      getHttpAdapter: () => ({ getInstance: () => app }),
      getHttpServer: () => app.server,
    }
    assert.equal(await frameworkAnswer(nest), app.server)
    assert.ok(isReady)
    await app.close()
  })

  it('is what NestJS runs on if its server does not speak HTTP/1', async () => {
    const instance = (): void => {}
    const nest = {
      init: async () => {},
      getHttpAdapter: () => ({ getInstance: () => instance }),
      getHttpServer: () => ({}),
    }
    assert.equal(await frameworkAnswer(nest), instance)
  })

  it('rejects if an app does not become ready', async () => {
    const app = fastify()
    app.register(async () => {
      throw new Error('no database')
    })
    await assert.rejects(frameworkAnswer(app), /no database/)
  })

  it('is undefined if there is no framework', async () => {
    for (const value of [{}, http.createServer(), new URL('http://localhost')]) {
      assert.equal(await frameworkAnswer(value), undefined)
    }
  })
})
