import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import express from 'express'
import { VhostError, type VhostErrorCode, type VhostRouterOptions } from '../lib/index.ts'
import { World } from './support/world.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')
const SECRET = '/srv/secret/app/index.js'

describe('VhostError', () => {
  const codes: [code: VhostErrorCode, status: number, expose: boolean, retryAfter?: string][] = [
    ['ERR_VHOST_HOST', 400, true],
    ['ERR_VHOST_PATH', 400, true],
    ['ERR_VHOST_MISDIRECTED', 421, true],
    ['ERR_VHOST_LOAD', 500, false],
    ['ERR_VHOST_NO_HANDLER', 500, false],
    ['ERR_VHOST_CRASHED', 502, false],
    ['ERR_VHOST_LOAD_TIMEOUT', 503, false, '1'],
    ['ERR_VHOST_OVERLOADED', 503, false, '1'],
    ['ERR_VHOST_CLOSED', 503, false, '1'],
  ]
  for (const [code, status, expose, retryAfter] of codes) {
    it(`gives Express what it looks for with ${code}: ${status}`, () => {
      const error = new VhostError(code)
      assert.ok(error instanceof Error)
      assert.equal(error.name, 'VhostError')
      assert.equal(error.code, code)
      assert.equal(error.status, status)
      assert.equal(error.statusCode, status)
      assert.equal(error.expose, expose)
      assert.equal(error.hostname, undefined)
      assert.deepEqual(error.headers, retryAfter ? { 'Retry-After': retryAfter } : {})
    })
  }

  it('has hostname and detail in its message', () => {
    const { message } = new VhostError('ERR_VHOST_LOAD', { hostname: 'aries.test', detail: 'no entry' })
    assert.equal(message, 'aries.test: The app cannot be loaded: no entry')
  })

  it('says when to retry if it was told so', () => {
    const { headers } = new VhostError('ERR_VHOST_OVERLOADED', { retryAfter: 30 })
    assert.deepEqual(headers, { 'Retry-After': '30' })
  })

  it('has no cause to log if there is none', () => {
    assert.doesNotMatch(inspect(new VhostError('ERR_VHOST_NO_HANDLER')), /cause/)
  })

  it('keeps the cause for logs, and the path of the cause out of message and stack', () => {
    const cause = new Error(`Cannot find module '${SECRET}'`)
    const error = new VhostError('ERR_VHOST_LOAD', { hostname: 'aries.test', cause })
    assert.equal(error.cause, cause)
    assert.equal(error.stack, 'VhostError [ERR_VHOST_LOAD]: aries.test: The app cannot be loaded')
    for (const text of [error.message, error.stack, String(error), JSON.stringify(error)]) {
      assertNoPath(text)
    }
    assert.ok(inspect(error).includes(SECRET), 'the operator is to see it')
  })

  it('can be restated for another hostname', () => {
    const cause = new Error('boom')
    const error = new VhostError('ERR_VHOST_OVERLOADED', { detail: 'busy', cause, retryAfter: 7 })
    const other = error.withHostname('taurus.test')
    assert.equal(other.hostname, 'taurus.test')
    assert.equal(other.message, 'taurus.test: There is no room to load the app now: busy')
    assert.equal(other.cause, cause)
    assert.deepEqual(other.headers, { 'Retry-After': '7' })
    assert.equal(error.hostname, undefined)
  })
})

interface Failure {
  title: string
  code: VhostErrorCode
  status: number
  options?: (base: () => string) => VhostRouterOptions
  set?: (world: World) => unknown
  raw?: string
}

const FAILURES: Failure[] = [
  {
    title: 'a malformed host',
    code: 'ERR_VHOST_HOST',
    status: 400,
    raw: 'GET / HTTP/1.1\r\nHost: ../etc/passwd\r\nConnection: close\r\n\r\n',
  },
  {
    title: 'a path that cannot be decoded',
    code: 'ERR_VHOST_PATH',
    status: 400,
    set: world => world.write('aries.test/static/index.html', 'aries'),
    raw: 'GET /% HTTP/1.1\r\nHost: aries.test\r\nConnection: close\r\n\r\n',
  },
  ...Object.entries({
    'an app that throws': `throw new Error('at ' + __filename)`,
    'an app that throws no error': `throw __filename`,
    'a missing module': `require('./missing')`,
    'a missing package': `require('missing')`,
    'a syntax error': `module.exports = (`,
    'a syntax error in an ES module': `import fs from 'node:fs'\nexport default (`,
    'a missing import': `import './missing.js'\nexport default () => {}`,
    'a missing export': `import { missing } from 'node:fs'\nexport default () => {}`,
    'an ES module that throws': `await null\nthrow new Error(import.meta.filename)`,
  }).map(
    ([title, source]): Failure => ({
      title,
      code: 'ERR_VHOST_LOAD',
      status: 500,
      set: world => world.write('aries.test/app/index.js', source),
    }),
  ),
  {
    title: 'an app folder without an entry',
    code: 'ERR_VHOST_LOAD',
    status: 500,
    set: world => world.write('aries.test/app/readme.txt', ''),
  },
  {
    title: 'an entry that lies outside of the release',
    code: 'ERR_VHOST_LOAD',
    status: 500,
    set: world => {
      world.write('outside/index.js', 'module.exports = () => {}')
      world.link('aries.test/app/index.js', world.path('outside/index.js'))
    },
  },
  {
    title: 'an app that exports no handler',
    code: 'ERR_VHOST_NO_HANDLER',
    status: 500,
    set: world => world.write('aries.test/app/index.js', 'module.exports = { folder: __dirname }'),
  },
  {
    title: 'an export of the wrong name',
    code: 'ERR_VHOST_NO_HANDLER',
    status: 500,
    options: () => ({ exportName: 'createApp()' }),
    set: world => world.site('aries.test', 'aries'),
  },
  {
    title: 'a naming scheme that fails',
    code: 'ERR_VHOST_LOAD',
    status: 500,
    options: base => ({
      getVhostPath: () => {
        throw Object.assign(new Error(`EIO: i/o error, open '${base()}'`), { code: 'EIO', path: base() })
      },
    }),
  },
  {
    title: 'a version that cannot be read',
    code: 'ERR_VHOST_LOAD',
    status: 500,
    options: () => ({ getVersion: async realPath => await Promise.reject(new Error(realPath)) }),
    set: world => world.site('aries.test', 'aries'),
  },
  {
    title: 'an app that takes too long',
    code: 'ERR_VHOST_LOAD_TIMEOUT',
    status: 503,
    options: () => ({ loadTimeout: 50 }),
    set: world => world.write('aries.test/app/index.js', 'module.exports = new Promise(() => {})'),
  },
  {
    title: 'no room for one more app',
    code: 'ERR_VHOST_OVERLOADED',
    status: 503,
    options: () => ({ maxApps: 1 }),
    set: async world => {
      world.write('taurus.test/app/index.js', 'module.exports = (req, res) => res.write("begun")')
      world.site('aries.test', 'aries')
      const socket = connect(world.port)
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nHost: taurus.test\r\n\r\n')
      await new Promise(resolve => socket.once('data', resolve))
    },
  },
  {
    title: 'a closed router',
    code: 'ERR_VHOST_CLOSED',
    status: 503,
    set: async world => {
      world.site('aries.test', 'aries')
      await world.vhosts.close()
    },
  },
]

describe("what Express's own error handler tells a client", () => {
  for (const failure of FAILURES) {
    it(`about ${failure.title}: ${failure.status}, and no path of this machine`, async t => {
      t.mock.method(console, 'error', () => {})
      let base = ''
      await using world = await World.start(
        { updateInterval: 20, ...failure.options?.(() => base) },
        (app, vhosts) => app.use(vhosts.static(), vhosts),
      )
      base = world.base
      mkdirSync(world.path('aries.test'), { recursive: true })
      await failure.set?.(world)
      const raw = failure.raw ?? 'GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: close\r\n\r\n'

      await world.raw(raw)
      const error = world.errors.at(-1) as VhostError
      assert.ok(error instanceof VhostError, String(error))
      assert.equal(error.code, failure.code)

      for (const create of [express, express4]) {
        for (const env of ['development', 'production']) {
          const outer = create().set('env', env)
          outer.use(world.vhosts.static(), world.vhosts)
          const text = await ask(await serve(t, createServer(outer)), raw)
          assert.match(text, new RegExp(`^HTTP/1.1 ${failure.status} `), text)
          assertNoPath(text)
          assert.ok(!text.includes(world.base), text)
          if (failure.status === 503) assert.match(text, /^retry-after: 1\r$/im)
          assert.equal(text.includes(failure.code), env === 'development', text)
        }
      }
    })
  }
})

async function serve(t: TestContext, server: Server): Promise<number> {
  t.after(() => server.close())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function ask(port: number, raw: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.write(raw)
  return (await socket.toArray()).join('')
}

function assertNoPath(text: string): void {
  assert.doesNotMatch(
    text,
    /file:|node:internal|[\w-]\.[cm]?js\b|[\\/](?:srv|tmp|home|root|work|usr|etc|private)[\\/]/,
  )
}
