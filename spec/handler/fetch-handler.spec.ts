import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { resultOfChild } from '../support/child.ts'
import { eventually, World } from '../support/world.ts'

const HOST = 'aries.test'
const globals = globalThis as unknown as { seen: Record<string, unknown> }

/** A world with one vhost whose `fetch` has this body; an outer middleware sets headers. */
async function start(body: string): Promise<World> {
  const world = await World.start({}, (app, vhosts) => {
    app.use((_req, res, next) => {
      res.setHeader('X-Outer', '1')
      res.cookie('outer', 'lost')
      next()
    }, vhosts)
  })
  globals.seen = {}
  world.write(
    `${HOST}/app/index.js`,
    `const { seen } = globalThis
    module.exports = { async fetch(request, env) { ${body} } }`,
  )
  return world
}

describe('fetchHandler', () => {
  it('gives the app a request with everything that the client sent', async () => {
    await using world = await start(`
      return Response.json([request.method, request.url, request.headers.get('x-more'), await request.text()])`)
    const { body, headers } = await world.get(HOST, '/a%20b?c=1&c=2', {
      method: 'PUT',
      body: 'text',
      headers: { 'x-more': ['1', '2'] },
    })
    assert.deepEqual(JSON.parse(body), ['PUT', `http://${HOST}/a%20b?c=1&c=2`, '1, 2', 'text'])
    assert.equal(headers['content-type'], 'application/json')
  })

  it('gives it a path below the one that the router is mounted at, as Express does', async () => {
    await using world = await World.start({}, (app, vhosts) => app.use('/below', vhosts))
    world.write(`${HOST}/app/index.js`, 'exports.fetch = ({ url }) => new Response(url)')
    assert.equal(await world.body(HOST, '/below/page'), `http://${HOST}/page`)
  })

  it('gives it the address of the client, and the request and response underneath', async () => {
    await using world = await start(`
      return Response.json([request.ip, env.incoming.socket.remoteAddress, env.outgoing.headersSent,
        request.runtime.node.req === env.incoming, env.incoming.vhost.hostname])`)
    const [ip, remoteAddress, ...rest] = JSON.parse(await world.body(HOST))
    assert.match(ip, /127\.0\.0\.1|::1/)
    assert.equal(remoteAddress, ip)
    assert.deepEqual(rest, [false, true, HOST])
  })

  it('gives it a standard request, and leaves the global classes alone', async () => {
    const classes = [Request, Response, Headers]
    await using world = await start(`
      const copies = [request.clone(), new Request('http://other.test/', request.clone()), new Request(request)]
      return new Response([request instanceof Request, ...await Promise.all(copies.map(copy => copy.text()))].join())`)
    assert.equal((await world.get(HOST, '/', { method: 'POST', body: 'text' })).body, 'true,text,text,text')
    assert.deepEqual([Request, Response, Headers], classes)
  })

  it('sends every Set-Cookie, and what was set before', async () => {
    await using world = await start(`
      return new Response('text', { status: 203, statusText: 'Twice', headers: [
        ['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2; Path=/'], ['X-App', '1'] ] })`)
    const { status, headers, body } = await world.get(HOST)
    assert.deepEqual([status, body], [203, 'text'])
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2; Path=/'])
    assert.deepEqual([headers['x-outer'], headers['x-app']], ['1', '1'])
  })

  it('answers without a body', async () => {
    await using world = await start(`
      if (request.method === 'HEAD') return new Response('text', { headers: { 'Content-Length': '4' } })
      return new Response(null, { status: 204 })`)
    assert.deepEqual((({ status, body }) => [status, body])(await world.get(HOST)), [204, ''])
    const { headers, body } = await world.get(HOST, '/', { method: 'HEAD' })
    assert.deepEqual([headers['content-length'], body], ['4', ''])
  })

  it('streams both ways: an answer begins before the request has ended', async () => {
    await using world = await start('return new Response(request.body)')
    const request = http.request({ port: world.port, method: 'POST', headers: { host: HOST }, agent: false })
    request.write('first')
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    assert.equal(String((await once(response, 'data'))[0]), 'first')
    request.write('second')
    assert.equal(String((await once(response, 'data'))[0]), 'second')
    request.end()
    await once(response, 'end')
  })

  it('produces no more than the client reads, and stops when the client has gone', async () => {
    await using world = await start(`
      seen.pulls = 0
      return new Response(new ReadableStream({
        pull(controller) { seen.pulls++; controller.enqueue(new Uint8Array(2 ** 20)) },
        cancel() { seen.isCancelled = true },
      }))`)
    const client = connect(world.port)
    client.pause().write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    let before = -1
    await eventually(async () => {
      const isStill = before === globals.seen.pulls && before > 0
      before = globals.seen.pulls as number
      // Time enough for many pulls, if there were any.
      for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
      return isStill
    })
    client.destroy()
    await eventually(() => globals.seen.isCancelled === true)
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
  })

  it('aborts the signal of the request when the client has gone', async () => {
    await using world = await start(`
      seen.isHere = true
      await new Promise(resolve => request.signal.addEventListener('abort', resolve))
      seen.isAborted = true
      return new Response()`)
    const client = connect(world.port)
    client.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    await eventually(() => globals.seen.isHere === true)
    client.destroy()
    await eventually(() => globals.seen.isAborted === true)
  })

  it('lets a connection go on whose body nobody has read', async () => {
    await using world = await start(`return new Response('text')`)
    const client = connect(world.port).setEncoding('latin1')
    const body = 'x'.repeat(3_000_000)
    for (let round = 0; round < 2; round++) {
      client.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      assert.match((await once(client, 'data'))[0], /^HTTP\/1\.1 200 /)
    }
    client.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    await once(client.resume(), 'end')
  })

  it('passes on what fetch() throws, rejects with, or returns if that is no Response', async () => {
    await using world = await World.start()
    for (const [name, source, message] of [
      ['throws', `exports.fetch = () => { throw new Error('broken') }`, 'broken'],
      ['rejects', `exports.fetch = async () => { throw new Error('broken') }`, 'broken'],
      ['nothing', 'exports.fetch = () => {}', 'fetch() of the app gave no Response'],
      ['text', `exports.fetch = () => 'text'`, 'fetch() of the app gave no Response'],
    ] as const) {
      world.errors.length = 0
      world.write(`${name}.test/app/index.js`, source)
      const { status, body } = await world.get(`${name}.test`)
      assert.deepEqual([name, status, body], [name, 500, 'outer error'])
      assert.equal((world.errors[0] as Error).message, message)
    }
  })

  it('cuts the connection if a body fails on its way', async () => {
    await using world = await start(`
      return new Response(new ReadableStream({
        start(controller) { controller.enqueue(new Uint8Array(9)) },
        async pull(controller) { await new Promise(setImmediate); controller.error(new Error('broken')) },
      }))`)
    await assert.rejects(world.get(HOST), { code: 'ECONNRESET' })
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
  })

  it('calls it on its object, and its close() at the end', async () => {
    await using world = await World.start()
    globals.seen = {}
    world.write(
      `${HOST}/app/index.mjs`,
      `export default new class Site {
        #text = 'private'
        fetch() { return new Response(this.#text) }
        close() { globalThis.seen.closed = this.#text }
      }`,
    )
    assert.equal(await world.body(HOST), 'private')
    await world.vhosts.close()
    assert.deepEqual(globals.seen, { closed: 'private' })
  })
})

describe('the adapter of fetch(request)', () => {
  const OWN = `
    import { NodeRequest, sendNodeResponse as send } from ${JSON.stringify(import.meta.resolve('srvx'))}
    const sendNodeResponse = (res, response) => { res.setHeader('x-adapter', NAME); return send(res, response) }
    export { NodeRequest, sendNodeResponse }`

  for (const [system, entry, source] of [
    ['CommonJS', 'index.cjs', `exports.fetch = () => new Response('text')`],
    ['an ES module', 'index.mjs', `export const fetch = () => new Response('text')`],
  ] as const) {
    it(`is the one of the vhost if it has one, for ${system}`, async () => {
      await using world = await World.start()
      world.write(`${HOST}/app/${entry}`, source)
      assert.equal((await world.get(HOST)).headers['x-adapter'], undefined)
      await world.vhosts.close()

      await using other = await World.start()
      other.write(`${HOST}/app/${entry}`, source)
      other.write(
        `${HOST}/node_modules/srvx/package.json`,
        '{ "type": "module", "exports": { ".": { "node": "./node.js" } } }',
      )
      other.write(`${HOST}/node_modules/srvx/node.js`, `const NAME = 'own'\n${OWN}`)
      assert.equal((await other.get(HOST)).headers['x-adapter'], 'own')
    })

    it(`may lie in a folder of getModulePaths, for ${system}`, async () => {
      await using world = await World.start({ getModulePaths: realPath => [join(realPath, 'lib/packages')] })
      world.write(`${HOST}/app/${entry}`, source)
      world.write(`${HOST}/lib/packages/srvx/package.json`, '{ "type": "module", "main": "node.js" }')
      world.write(`${HOST}/lib/packages/srvx/node.js`, `const NAME = 'paths'\n${OWN}`)
      assert.equal((await world.get(HOST)).headers['x-adapter'], 'paths')
    })
  }

  it('is renewed with an ES module app', async () => {
    await using world = await World.start()
    world.write(`${HOST}/app/index.mjs`, `export const fetch = () => new Response('text')`)
    world.write(`${HOST}/node_modules/srvx/package.json`, '{ "type": "module", "exports": "./node.js" }')
    for (const name of ['one', 'two']) {
      world.write(`${HOST}/node_modules/srvx/node.js`, `const NAME = '${name}'\n${OWN}`)
      await world.vhosts.reload(HOST)
      assert.equal((await world.get(HOST)).headers['x-adapter'], name)
    }
  })

  it('is reported with what to install if it is missing, and found once it is installed in the vhost', async () => {
    await using world = await World.start()
    world.write(`${HOST}/app/index.js`, `exports.fetch = () => new Response('text')`)
    // express-van with its dependencies, but without srvx.
    const packages = world.path('..', 'node_modules')
    mkdirSync(join(packages, 'express-van'), { recursive: true })
    cpSync('package.json', join(packages, 'express-van/package.json'))
    cpSync('dist', join(packages, 'express-van/dist'), { recursive: true })
    for (const name of ['chokidar', 'express', 'lru-cache'])
      symlinkSync(resolve('node_modules', name), join(packages, name))
    const [missing, found] = await resultOfChild<[{ message: string; code: string; cause: string }, string]>(`
      import http from 'node:http'
      import { symlinkSync } from 'node:fs'
      import { vhostRouter } from ${JSON.stringify(join(packages, 'express-van/dist/index.js'))}
      const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())} }).on('error', () => {})
      const error = await vhosts.load('${HOST}').catch(error => error)
      symlinkSync(${JSON.stringify(resolve('node_modules'))}, ${JSON.stringify(world.path(HOST, 'node_modules'))})
      const release = await vhosts.reload('${HOST}').catch(String)
      await vhosts.close()
      console.log(JSON.stringify([
        { message: error.message, code: error.code, cause: String(error.cause) }, typeof release]))
      process.exit()`)
    assert.equal(
      missing.message,
      `${HOST}: The app cannot be loaded: an app with fetch() needs the package srvx: run \`npm install srvx\` in the vhost, or beside express-van for all`,
    )
    assert.deepEqual([missing.code, missing.cause, found], ['ERR_VHOST_LOAD', 'undefined', 'object'])
    rmSync(packages, { recursive: true })
  })

  it('is not replaced by another one if it is broken', async () => {
    await using world = await World.start()
    world.write(`${HOST}/app/index.js`, `exports.fetch = () => new Response('text')`)
    world.write(`${HOST}/node_modules/srvx/package.json`, '{ "type": "module", "exports": "./node.js" }')
    world.write(`${HOST}/node_modules/srvx/node.js`, `import './absent.js'`)
    assert.equal((await world.get(HOST)).status, 500)
    assert.match(String(world.events('error')[0]?.error.cause), /absent\.js/)
  })
})
