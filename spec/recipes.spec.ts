import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { issue } from './support/certificate.ts'
import { Nginx, nginxMissing } from './support/nginx.ts'
import { block, Recipe } from './support/recipe.ts'
import { eventually, World } from './support/world.ts'

const packages = `${process.cwd()}/node_modules`
const plain = (body: string): string => `module.exports = (req, res) => res.end(${JSON.stringify(body)})`

/** An app from README as it is written there, with the packages of this project. */
function ownApp(pattern: RegExp): string {
  return block('js', pattern).replace(/require\('([\w-]+)'\)/g, `require('${packages}/$1')`)
}

describe('Beside middleware', () => {
  const program = block('js', /pinoHttp/)

  it('helmet sets headers for every app, which an app may override or remove', async () => {
    await using recipe = new Recipe()
    recipe.write('www/aries.test/app/index.js', plain('aries'))
    recipe.write('www/aries.test/static/page.html', '<p>aries</p>')
    recipe.write(
      'www/leo.test/app/index.js',
      `module.exports = (req, res) => {
        res.setHeader('Content-Security-Policy', "default-src 'none'")
        res.removeHeader('X-Frame-Options')
        res.end('leo')
      }`,
    )
    await recipe.start(program)
    for (const path of ['/', '/page.html']) {
      const { headers } = await recipe.get('aries.test', path)
      assert.match(String(headers['content-security-policy']), /default-src 'self'/)
      assert.equal(headers['x-frame-options'], 'SAMEORIGIN')
      assert.equal(headers['x-powered-by'], undefined)
    }
    const { headers } = await recipe.get('leo.test')
    assert.equal(headers['content-security-policy'], "default-src 'none'")
    assert.equal(headers['x-frame-options'], undefined)
    assert.match(String((await recipe.get('nobody.test')).headers['content-security-policy']), /default-src/)
  })

  it('compression compresses what apps and document roots answer, and flushes', async () => {
    await using recipe = new Recipe()
    const long = 'aries '.repeat(1000)
    recipe.write(
      'www/aries.test/app/index.js',
      `module.exports = (req, res) => {
        res.setHeader('Content-Type', 'text/plain')
        if (req.url === '/') return res.end(${JSON.stringify(long)})
        res.write('first ')
        res.flush()
        req.once('close', () => res.end())
      }`,
    )
    recipe.write('www/aries.test/static/page.txt', long)
    await recipe.start(program)
    for (const path of ['/', '/page.txt']) {
      const request = http.get({
        port: recipe.port,
        path,
        agent: false,
        headers: { host: 'aries.test', 'accept-encoding': 'gzip' },
      })
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      assert.equal(response.headers['content-encoding'], 'gzip')
      const chunks: Buffer[] = await response.toArray()
      assert.equal(gunzipSync(Buffer.concat(chunks)).toString(), long)
    }
    const streamed = http.get({
      port: recipe.port,
      path: '/stream',
      agent: false,
      headers: { host: 'aries.test', 'accept-encoding': 'gzip' },
    })
    const [response] = (await once(streamed, 'response')) as [IncomingMessage]
    const [first] = await once(response, 'data')
    assert.ok(first.length > 0)
    streamed.destroy()
  })

  it('pino-http logs which vhost it was, and no secrets', async () => {
    await using recipe = new Recipe()
    recipe.write('www/aries.test/app/index.js', plain('aries'))
    await recipe.start(program)
    await recipe.get('aries.test', '/', { headers: { cookie: 's3cret', authorization: 's3cret' } })
    await recipe.get('nobody.test')
    const lines = (): { vhost?: string; res?: { statusCode: number } }[] =>
      recipe.stdout
        .split('\n')
        .filter(line => line !== '')
        .map(line => JSON.parse(line))
    await eventually(() => lines().length === 2)
    assert.deepEqual(
      lines().map(({ vhost, res }) => [vhost, res?.statusCode]),
      [
        ['aries.test', 200],
        [undefined, 404],
      ],
    )
    assert.ok(!recipe.stdout.includes('s3cret'))
    assert.ok(!recipe.stdout.includes(recipe.base))
  })

  it('body parsers behind the router leave the body to the apps, and serve what falls through', async () => {
    await using recipe = new Recipe()
    recipe.write(
      'www/aries.test/app/index.js',
      `module.exports = async (req, res, next) => {
        if (req.url === '/hook') return next()
        const chunks = await req.toArray()
        res.end(Buffer.concat(chunks))
      }`,
    )
    await recipe.start(program)
    const body = '{"a": 1}'
    const options = { method: 'POST', body, headers: { 'content-type': 'application/json' } }
    assert.equal((await recipe.get('aries.test', '/', options)).body, body)
    assert.equal((await recipe.get('aries.test', '/hook', options)).body, '{"a":1}')
  })

  it('a body parsed before the router reaches only apps of Express 5', async () => {
    const { json } = (await import('express')).default
    await using world = await World.start({}, (app, vhosts) => app.use(json({ limit: 20 })).use(vhosts))
    for (const express of ['express', 'express4']) {
      world.write(
        `${express}.test/app/index.js`,
        `const express = require('${packages}/${express}')
        module.exports = express().use(express.json()).post('/', (req, res) => res.json(req.body))`,
      )
    }
    world.write(
      'plain.test/app/index.js',
      `module.exports = async (req, res) => {
        for await (const chunk of req) res.write(chunk)
        res.end()
      }`,
    )
    const options = { method: 'POST', headers: { 'content-type': 'application/json' } }
    const long = JSON.stringify('x'.repeat(20))
    assert.equal((await world.get('express.test', '/', { ...options, body: '{"a": 1}' })).body, '{"a":1}')
    assert.equal((await world.get('express.test', '/', { ...options, body: long })).status, 413)
    assert.equal((await world.get('express4.test', '/', { ...options, body: '{"a": 1}' })).status, 500)
    assert.equal((await world.get('plain.test', '/', { ...options, body: '{"a": 1}' })).body, '')
  })

  it('express-session inside an app belongs to that site', async () => {
    await using recipe = new Recipe()
    for (const name of ['aries.test', 'leo.test']) recipe.write(`www/${name}/app/index.js`, ownApp(/session/))
    await recipe.start(program)
    const proxied = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' }
    const first = await recipe.get('aries.test', '/', { headers: proxied })
    assert.deepEqual(JSON.parse(first.body), { views: 1, ip: '192.0.2.1', protocol: 'https' })
    const [cookie = ''] = first.headers['set-cookie'] ?? []
    assert.match(cookie, /; Secure/)
    const [value = ''] = cookie.split(';')
    const again = { headers: { ...proxied, cookie: value } }
    assert.equal(JSON.parse((await recipe.get('aries.test', '/', again)).body).views, 2)
    assert.equal(JSON.parse((await recipe.get('leo.test', '/', again)).body).views, 1)
    const [bare = ''] = (await recipe.get('aries.test')).headers['set-cookie'] ?? []
    assert.doesNotMatch(bare, /; Secure/)
  })

  it('express-session before the router would be every vhost’s', async () => {
    const session = (await import('express-session')).default
    await using world = await World.start({}, (app, vhosts) =>
      app.use(session({ secret: 'of all', resave: false, saveUninitialized: false })).use(vhosts),
    )
    for (const name of ['aries.test', 'leo.test']) world.write(`${name}/app/index.js`, ownApp(/session/))
    const [cookie = ''] = (await world.get('aries.test')).headers['set-cookie'] ?? []
    const [value = ''] = cookie.split(';')
    assert.equal(JSON.parse((await world.get('leo.test', '/', { headers: { cookie: value } })).body).views, 2)
  })
})

describe('Behind a proxy', () => {
  it('nginx passes host, address, protocol and upgrades on', { skip: nginxMissing() }, async () => {
    await using recipe = new Recipe()
    recipe.write(
      'www/aries.test/app/index.js',
      `const express = require('${packages}/express')
      const app = express()
      app.get('/', (req, res) => res.json([req.vhost.host, req.hostname, req.ip, req.protocol]))
      exports.app = app
      exports.upgrade = (req, socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n')
        socket.pipe(socket)
      }`,
    )
    recipe.write('www/leo.test/static/index.html', 'leo')
    await recipe.start(block('js', /pinoHttp/))
    await using nginx = await Nginx.start(port =>
      block('nginx', /proxy_pass/)
        .replace('127.0.0.1:3000', `127.0.0.1:${recipe.port}`)
        .replace('listen 80 ', `listen 127.0.0.1:${port} `),
    )
    const ask = (host: string, headers: object = {}) =>
      recipe.get(host, '/', { headers: { ...headers } }, nginx.port)
    assert.deepEqual(JSON.parse((await ask(`aries.test:${nginx.port}`)).body), [
      `aries.test:${nginx.port}`,
      'aries.test',
      '127.0.0.1',
      'http',
    ])
    const forged = {
      'x-forwarded-host': 'leo.test',
      'x-forwarded-for': '192.0.2.1',
      'x-forwarded-proto': 'https',
    }
    assert.deepEqual(JSON.parse((await ask('Aries.Test', forged)).body), [
      'Aries.Test',
      'Aries.Test',
      '192.0.2.1',
      'http',
    ])
    assert.equal((await ask('leo.test')).body, 'leo')
    assert.equal((await ask('nobody.test')).status, 404)
    const request = http.get({
      port: nginx.port,
      agent: false,
      headers: { host: 'aries.test', connection: 'Upgrade', upgrade: 'websocket' },
    })
    const [, socket] = await once(request, 'upgrade')
    socket.write('echo')
    assert.equal(String((await once(socket, 'data'))[0]), 'echo')
    socket.destroy()
  })
})

describe('TLS', () => {
  it('serves each vhost with its certificate, and answers what Caddy asks', async () => {
    await using recipe = new Recipe()
    const aries = await issue(['aries.test'])
    const fallback = await issue(['fallback.test'])
    for (const [folder, pair] of [
      ['www/aries.test/certs', aries],
      ['default', fallback],
    ] as const) {
      recipe.write(`${folder}/key.pem`, pair.key)
      recipe.write(`${folder}/cert.pem`, pair.cert)
    }
    recipe.write(
      'www/aries.test/app/index.js',
      'module.exports = (req, res, next) => req.url === "/" ? res.end("aries") : next()',
    )
    const asking = block('js', /ask\(\)/).replace(/listen\(5555/, 'listen(0')
    const program = block('js', /SNICallback/).replace('/etc/ssl/default', recipe.path('default'))
    await recipe.start(`import http from 'node:http'\n${program}\nconst asked = ${asking}
      app.get('/asked', (req, res) => res.json(asked.address().port))`)
    const get = async (path: string): Promise<string> => {
      const request = https.get({
        port: recipe.port,
        path,
        servername: 'aries.test',
        ca: aries.cert,
        headers: { host: 'aries.test' },
        agent: false,
      })
      return await text(((await once(request, 'response')) as [IncomingMessage])[0])
    }
    assert.equal(await get('/'), 'aries')
    const port = Number(await get('/asked'))
    assert.equal((await recipe.get('localhost', '/?domain=aries.test', {}, port)).status, 200)
    assert.equal((await recipe.get('localhost', '/?domain=leo.test', {}, port)).status, 404)
  })
})
