import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { resolve } from 'node:path'
import type { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { type VhostInfo, vhostRouter } from '../lib/index.ts'
import { eventually, World } from './support/world.ts'

const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n'
/** Answers an upgrade with its name, then sends back what it gets. */
const ECHO = (name: string): string => `
  exports.handler = (req, res) => res.end('${name}')
  exports.seen = 0
  exports.upgrade = (req, socket, head) => {
    socket.write('${SWITCHED}${name} ' + req.url + ' ' + head + '.')
    socket.on('data', data => socket.write(data)).on('end', () => socket.end()).on('error', () => {})
  }
`
const H2C =
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'

interface Row {
  id: string
  transport: string
  raw: string
  expect: string
  name?: string
  status?: number
  why: string
}

describe('upgrade', () => {
  it('passes a WebSocket to the upgrade function that a vhost exports, and loads the vhost first if need be', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', ECHO('aries'))
    for (const host of ['aries.test', 'ARIES.test.:80']) {
      const client = await open(world, host, '/chat?room=1', 'first bytes')
      assert.match(client.text, /^HTTP\/1\.1 101 [\s\S]*\r\n\r\naries \/chat\?room=1 first bytes\.$/)
      assert.equal(await client.ask('ping'), 'ping')
      client.socket.destroy()
    }
    assert.equal(world.events('load').length, 1)
  })

  it('passes it to the upgrade listeners of an http.Server, exported or caught', async () => {
    await using world = await World.start()
    const server = `
      const server = require('node:http').createServer((req, res) => res.end('plain'))
      server.on('upgrade', (req, socket) => socket.end('${SWITCHED}' + req.headers.host + '.'))
    `
    world.write('aries.test/app/index.js', `${server}\nmodule.exports = server`)
    world.write('taurus.test/app/index.js', `${server}\nserver.listen(80)`)
    for (const host of ['aries.test', 'taurus.test']) {
      assert.match(await upgrade(world, host), new RegExp(`\r\n\r\n${host}\\.$`))
    }
  })

  for (const [title, source] of Object.entries({
    'by an exported upgrade': `
      const express = require('express')
      const { WebSocketServer } = require('ws')
      const sockets = new WebSocketServer({ noServer: true })
      exports.app = express().get('/', (req, res) => res.send('plain'))
      exports.upgrade = (req, socket, head) => sockets.handleUpgrade(req, socket, head, client => {
        client.on('message', data => client.send(req.vhost.hostname + ': ' + data))
      })`,
    'on a server that listens': `
      const { WebSocketServer } = require('ws')
      const server = require('express')().get('/', (req, res) => res.send('plain')).listen(3000)
      const sockets = new WebSocketServer({ server })
      sockets.on('connection', (client, req) => {
        client.on('message', data => client.send(req.vhost.hostname + ': ' + data))
      })`,
  })) {
    it(`works with the package ws ${title}`, async () => {
      await using world = await World.start()
      world.link('aries.test/node_modules', resolve('node_modules'))
      world.write('aries.test/app/index.js', source)
      const client = new WebSocket(`ws://127.0.0.1:${world.port}/`, { headers: { host: 'aries.test' } })
      await new Promise((opened, failed) => client.on('open', opened).on('error', failed))
      client.send('hello')
      const answer = await new Promise(resolve => client.once('message', data => resolve(String(data))))
      assert.equal(answer, 'aries.test: hello')
      assert.equal(await world.body('aries.test'), 'plain')
      assert.equal(world.vhosts.stats().totals.inFlight, 1)
      client.close()
      await eventually(() => world.vhosts.stats().totals.inFlight === 0)
    })
  }

  it('lets no vhost see the WebSockets of another', async () => {
    await using world = await World.start()
    for (const name of ['aries', 'taurus']) {
      world.write(
        `${name}.test/app/index.js`,
        `${ECHO(name)}
        const { upgrade } = exports
        let seen = 0
        exports.handler = (req, res) => res.end(String(seen))
        exports.upgrade = (...values) => { seen++; upgrade(...values) }`,
      )
    }
    const clients = await Promise.all(
      Array.from({ length: 12 }, (_, i) => open(world, i % 3 === 0 ? 'taurus.test' : 'aries.test')),
    )
    const names = clients.map(({ text, socket }) => {
      socket.destroy()
      return /(aries|taurus) \//.exec(text)?.[1]
    })
    assert.deepEqual(
      names,
      clients.map((_, i) => (i % 3 === 0 ? 'taurus' : 'aries')),
    )
    assert.equal(await world.body('aries.test'), '8')
    assert.equal(await world.body('taurus.test'), '4')
  })

  it('gives the vhost its req.vhost, whether it is already loaded or not', async () => {
    await using world = await World.start()
    world.write(
      'releases/1/app/index.js',
      `exports.handler = (req, res) => res.end()
      exports.upgrade = (req, socket) => socket.end('${SWITCHED}' + JSON.stringify(req.vhost))`,
    )
    world.link('aries.test', world.path('releases/1'))
    for (const host of ['Aries.test:80', 'aries.test']) {
      const answer = await upgrade(world, host)
      assert.deepEqual(JSON.parse(answer.slice(answer.indexOf('{'))), {
        hostname: 'aries.test',
        host,
        path: world.path('aries.test'),
        realPath: world.path('releases/1'),
        length: 1,
        0: 'aries.test',
      } satisfies VhostInfo)
    }
  })

  it('answers 400 if Host is missing or refused', async () => {
    await using world = await World.start()
    const offer = 'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    assert.match(await world.raw(`GET / HTTP/1.0\r\n${offer}`), /^HTTP\/1\.1 400 /)
    for (const host of ['../aries', 'a..b', '127.1', 'aries.test\r\nHost: aries.test']) {
      assert.match(await upgrade(world, host), /^HTTP\/1\.1 400 Bad Request\r\n/, host)
    }
    assert.deepEqual(world.told, [])
  })

  it('answers 404 if there is no vhost, no app, or an app that takes no upgrades', async () => {
    await using world = await World.start()
    world.write('aries.test/static/index.html', 'no app')
    world.site('taurus.test', 'takes none')
    world.write('virgo.test/app/index.js', 'module.exports = require("node:http").createServer()')
    for (const host of ['nobody.test', '[::1]', 'aries.test', 'taurus.test', 'taurus.test', 'virgo.test']) {
      assert.match(await upgrade(world, host), /^HTTP\/1\.1 404 Not Found\r\n/, host)
    }
    assert.equal(await world.body('taurus.test'), 'takes none')
  })

  it('leaves what nobody takes to other listeners of the server', async () => {
    await using world = await World.start()
    world.site('taurus.test', 'takes none')
    world.write('virgo.test/app/index.js', ECHO('virgo'))
    world.server.on('upgrade', (req: IncomingMessage, socket: Duplex) => {
      if (req.url === '/outer') socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\nouter')
    })
    for (const host of ['nobody.test', 'taurus.test']) {
      assert.match(await upgrade(world, host, '/outer'), /outer$/, host)
    }
    const client = await open(world, 'virgo.test')
    assert.match(client.text, /virgo \//)
    client.socket.destroy()
  })

  it('answers 500 if the app cannot be loaded', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    for (let i = 0; i < 2; i++) {
      assert.match(await upgrade(world, 'aries.test'), /^HTTP\/1\.1 500 Internal Server Error\r\n/)
    }
    assert.equal(world.events('error').length, 1)
  })

  it('answers 503 with Retry-After if the router is closed or the load takes too long', async () => {
    await using world = await World.start({ loadTimeout: 20 })
    world.write('aries.test/app/index.js', 'module.exports = new Promise(() => {})')
    assert.match(await upgrade(world, 'aries.test'), /^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 1\r\n/)
    await world.vhosts.close()
    assert.match(await upgrade(world, 'taurus.test'), /^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 1\r\n/)
  })

  for (const isolation of ['none', 'thread', 'process'] as const) {
    const SERVER = `
      const http = require('node:http')
      const server = http.createServer((req, res) => {
        if (req.url === '/take') take()
        if (req.url === '/leave') server.off('upgrade', answer)
        res.end('plain')
      })
      const take = () => server.on('upgrade', answer)
      const answer = (req, socket) => socket.end('${SWITCHED}late.')`
    for (const [how, ending] of [
      ['listens', 'server.listen(80)'],
      ['is exported', 'module.exports = server'],
      ['listens beside a handler', 'module.exports = server.listeners("request")[0]; server.listen(80)'],
      [
        'listens later than a handler is exported',
        'module.exports = server.listeners("request")[0]; setTimeout(() => server.listen(80), 50)',
      ],
    ] as const) {
      it(`passes it to a server that ${how}, only while that takes upgrades; isolation: '${isolation}'`, async () => {
        await using world = await World.start({ isolation })
        world.write('aries.test/app/index.js', `${SERVER}\n${ending}`)
        const answers = async (status: RegExp): Promise<void> => {
          // The app's report to the router arrives independently of the answer.
          await eventually(async () => status.test(await upgrade(world, 'aries.test')))
        }
        assert.match(await upgrade(world, 'aries.test'), /^HTTP\/1\.1 404 /)
        assert.equal(await world.body('aries.test', '/take'), 'plain')
        await answers(/^HTTP\/1\.1 101 [\s\S]*late\.$/)
        assert.equal(await world.body('aries.test', '/leave'), 'plain')
        await answers(/^HTTP\/1\.1 404 /)
      })
    }
  }

  it('survives a client that resets while the vhost loads', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `${ECHO('aries')}
      module.exports = new Promise(resolve => {
        process.once('spec:go', () => resolve({ ...exports }))
        process.emit('spec:loading')
      }).then(exports => Object.assign(exports.handler, exports))`,
    )
    const loading = new Promise(resolve => process.once('spec:loading', resolve))
    const arrived = new Promise<Socket>(resolve => {
      world.server.once('upgrade', (req: IncomingMessage) => resolve(req.socket))
    })
    const client = connect(world.port)
    client.write(`GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    const socket = await arrived
    await loading
    const closed = new Promise(resolve => socket.once('close', resolve))
    client.resetAndDestroy()
    // A socket that nobody reads notices a reset only when it is written to.
    socket.write('x')
    await closed
    process.emit('spec:go' as never)
    await world.event('load')
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('drops a client that has ended its side while the vhost loads', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `module.exports = new Promise(resolve => {
        process.once('spec:go', () => resolve(Object.assign((req, res) => res.end('aries'), { upgrade })))
        process.emit('spec:loading')
      })
      const upgrade = (req, socket) => socket.on('end', () => socket.end()).resume()`,
    )
    const loading = new Promise(resolve => process.once('spec:loading', resolve))
    const arrived = new Promise<Socket>(resolve => {
      world.server.once('upgrade', (req: IncomingMessage) => resolve(req.socket))
    })
    const client = connect(world.port)
    client.write(`GET / HTTP/1.1\r\nHost: aries.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    const socket = await arrived
    await loading
    client.end()
    await eventually(() => socket.readableEnded)
    process.emit('spec:go' as never)
    await new Promise(resolve => client.once('close', resolve).resume())
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('has an error listener on the socket before anything is awaited', async () => {
    const vhosts = vhostRouter({ basePath: resolve('spec') })
    const server = createServer()
    const listeners = new Promise<number>(resolve => {
      server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
        const before = socket.listenerCount('error')
        vhosts.upgrade(req, socket, head)
        resolve(socket.listenerCount('error') - before)
      })
    })
    await new Promise<void>(resolve => server.listen(0, resolve))
    const client = connect((server.address() as AddressInfo).port)
    client.write('GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    assert.equal(await listeners, 1)
    await new Promise(resolve => client.once('close', resolve).resume())
    server.close()
    await vhosts.close()
  })

  it('counts a socket in flight until it closes', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', ECHO('aries'))
    const clients = [await open(world, 'aries.test'), await open(world, 'aries.test')]
    assert.equal(world.vhosts.stats().vhosts[0]?.inFlight, 2)
    clients[0]?.socket.destroy()
    await eventually(() => world.vhosts.stats().vhosts[0]?.inFlight === 1)
    clients[1]?.socket.destroy()
    await eventually(() => world.vhosts.stats().vhosts[0]?.inFlight === 0)
    assert.equal(world.vhosts.stats().vhosts[0]?.requests, 2)
  })

  for (const [what, source] of [
    ['takes', ECHO('aries')],
    ['does not take', `module.exports = (req, res) => res.end('aries')`],
  ] as const) {
    it(`leaves an app that ${what} upgrades free to give way to another`, async () => {
      await using world = await World.start({ maxApps: 1 })
      world.write('aries.test/app/index.js', source)
      world.site('taurus.test', 'taurus')
      for (let round = 0; round < 2; round++) {
        if (what === 'takes') (await open(world, 'aries.test')).socket.destroy()
        else await upgrade(world, 'aries.test')
      }
      await eventually(() => world.vhosts.stats().totals.inFlight === 0)
      assert.equal(await world.body('taurus.test'), 'taurus')
    })
  }

  it('lets a socket of a replaced app live on until drainTimeout, then cuts it', async () => {
    await using world = await World.start({ drainTimeout: 300 })
    world.write('aries.test/app/index.js', ECHO('one'))
    const client = await open(world, 'aries.test')
    const evicted = world.event('evict')
    const closed = new Promise(resolve => client.socket.once('close', resolve))
    world.write('aries.test/app/index.js', ECHO('two'))
    const start = performance.now()
    await world.vhosts.reload('aries.test')
    assert.equal(await client.ask('still there?'), 'still there?')
    assert.equal(await world.body('aries.test'), 'two')
    await closed
    assert.ok(performance.now() - start > 250)
    assert.equal((await evicted).reason, 'reloaded')
  })

  it('closes with 1012 what is left at the deadline if the app has switched protocols', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `exports.handler = (req, res) => res.end()
      exports.upgrade = (req, socket) => {
        socket.on('end', () => {})
        if (req.url === '/silent') return
        socket.write('${SWITCHED}.')
        if (req.url === '/ended') socket.end()
      }`,
    )
    const clients = ['/', '/silent', '/ended'].map(path => {
      // The app ending its side does not end the client's side.
      const socket = connect({ port: world.port, allowHalfOpen: true }).setEncoding('latin1')
      const client = { socket, text: '' }
      socket.on('data', text => {
        client.text += text
      })
      socket.write(offer('aries.test', path))
      return client
    })
    const [open, silent, ended] = clients as [Answered, Answered, Answered]
    // Its connection has brought an answer before.
    const used = await answeredBefore(world, 'aries.test', '/silent')
    await eventually(() => open.text.endsWith('.') && ended.text.endsWith('.'))
    await eventually(() => world.vhosts.stats().totals.inFlight === 4)
    const ends = [open, silent, used].map(({ socket }) => new Promise(resolve => socket.once('end', resolve)))
    await world.vhosts.close({ drainTimeout: 0 })
    await Promise.all(ends)
    assert.ok(open.text.startsWith('HTTP/1.1 101 ') && open.text.endsWith('.\x88\x02\x03\xf4'), open.text)
    assert.deepEqual([silent.text, used.text], ['', ''])
    assert.ok(ended.text.startsWith('HTTP/1.1 101 ') && ended.text.endsWith('.'), ended.text)
    for (const { socket } of [...clients, used]) socket.destroy()
  })

  it('destroys a socket whose client does not read soon after the deadline', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `exports.handler = (req, res) => res.end()
      exports.upgrade = (req, socket) => {
        socket.write('${SWITCHED}.')
        socket.write(Buffer.alloc(1e7))
        socket.on('close', () => { globalThis.isClosed = true })
      }`,
    )
    const client = connect(world.port)
    client.pause().write(offer('aries.test', '/'))
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
    await world.vhosts.close({ drainTimeout: 0 })
    await eventually(() => (globalThis as { isClosed?: boolean }).isClosed === true)
    client.destroy()
  })

  for (const isolation of ['none', 'thread', 'process'] as const) {
    it(`destroys the socket if the listener throws or rejects, counts and reports the error, isolation: '${isolation}'`, async () => {
      await using world = await World.start({ isolation })
      world.write(
        'aries.test/app/index.js',
        `exports.handler = (req, res) => res.end()
        exports.upgrade = (req, socket) => {
          if (req.url === '/ended') socket.end()
          if (req.url === '/late') socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
          if (req.url === '/rejects') return Promise.reject('no error')
          throw new Error('boom' + '.'.repeat(req.url === '/long' ? 20_000 : 0))
        }`,
      )
      world.link('www.aries.test', 'aries.test')
      await world.body('www.aries.test')
      const paths = ['/throws', '/rejects', '/long']
      for (const path of paths) assert.equal(await upgrade(world, 'aries.test', path), '')
      assert.equal(world.vhosts.stats().vhosts[0]?.errors, 3)
      assert.equal(world.vhosts.stats().totals.inFlight, 0)
      const told = world.events('error')
      const causes = told.map(({ error }) => String((error.cause as Error).message ?? error.cause))
      assert.deepEqual(
        causes.map(cause => cause.slice(0, 8)),
        ['boom', 'no error', 'boom....'],
      )
      for (const { error, hostnames, serving, realPath, version } of told) {
        assert.equal(error.message, 'upgrade() of the app failed')
        assert.deepEqual(hostnames, ['www.aries.test', 'aries.test'])
        assert.deepEqual(serving, { realPath, version })
      }
      for (const path of ['/ended', '/late'])
        assert.doesNotMatch(await upgrade(world, 'aries.test', path), /boom/)
      const isTold = (): boolean =>
        world.events('error').length === 5 ||
        world.events('log').some(({ line }) => line.includes('Error: boom'))
      await eventually(isTold)
      assert.equal((await world.get('aries.test')).status, 200)
      assert.deepEqual(world.events('evict'), [])
    })
  }

  it('says what serves if the app that fails has been replaced or deleted', async () => {
    await using world = await World.start({ updateInterval: 10 })
    world.write(
      'releases/1/app/index.js',
      `exports.handler = (req, res) => res.end()
      exports.upgrade = () => new Promise((_, reject) => process.once('fail-upgrades', reject))`,
    )
    world.link('aries.test', world.path('releases/1'))
    await world.body('aries.test')
    const clients = [connect(world.port), connect(world.port)]
    for (const client of clients) client.write(offer('aries.test', '/'))
    await eventually(() => world.vhosts.stats().totals.inFlight === 2)
    world.site('releases/2', 'two')
    world.link('aries.test', world.path('releases/2'))
    await eventually(() => world.vhosts.stats().totals.draining === 1)
    const [fail, failLater] = process.listeners('fail-upgrades' as 'message') as ((error: Error) => void)[]
    process.removeAllListeners('fail-upgrades')
    fail?.(new Error('boom'))
    await eventually(() => world.events('error').length === 1)
    world.remove('aries.test')
    await eventually(() => world.vhosts.stats().totals.hostnames === 0)
    failLater?.(new Error('boom'))
    await eventually(() => world.events('error').length === 2)
    assert.deepEqual(
      world.events('error').map(({ hostnames, serving }) => [hostnames, serving?.realPath]),
      [
        [['aries.test'], world.path('releases/2')],
        [['aries.test'], undefined],
      ],
    )
    for (const client of clients) client.destroy()
  })

  it('follows X-Forwarded-Host if the option trustProxy says so, and never otherwise', async () => {
    for (const [trustProxy, name] of [
      ['loopback', 'taurus'],
      [undefined, 'aries'],
      [false, 'aries'],
    ] as const) {
      await using world = await World.start({ trustProxy }, (app, vhosts) => {
        app.set('trust proxy', true).use(vhosts)
      })
      for (const site of ['aries', 'taurus']) world.write(`${site}.test/app/index.js`, ECHO(site))
      const client = await open(world, 'aries.test\r\nX-Forwarded-Host: taurus.test')
      assert.match(client.text, new RegExp(`${name} /`), String(trustProxy))
      client.socket.destroy()
    }
  })
})

describe('upgrade, to another protocol than WebSocket,', () => {
  const APP = `module.exports = async (req, res) => {
    let body = ''
    for await (const chunk of req) body += chunk
    const { upgrade, connection, 'http2-settings': settings, 'x-more': more } = req.headers
    res.end([req.method, req.url, body, upgrade, settings, connection, more, req.httpVersion].join('|'))
  }`

  for (const offer of [
    H2C,
    'Connection: Upgrade\r\nUpgrade: h2c\r\n',
    'Upgrade: TLS/1.0\r\nconnection: upgrade\r\n',
    'Connection: upgrade\r\nUpgrade: websockets, irc\r\n',
  ]) {
    it(`serves the request as it is: ${JSON.stringify(offer)}`, async () => {
      await using world = await World.start()
      world.write('aries.test/app/index.js', APP)
      const client = connect(world.port).setEncoding('latin1')
      client.write(`GET /a?b HTTP/1.1\r\nHost: aries.test\r\nX-More: \xe9\r\n${offer}\r\n`, 'latin1')
      const [answer] = await once(client, 'data')
      assert.match(answer, /^HTTP\/1\.1 200 /)
      assert.match(answer, /\r\n\r\nGET\|\/a\?b\|\|\|\|keep-alive\|\xc3\xa9\|1\.1$/)
      client.write('GET /next HTTP/1.1\r\nHost: aries.test\r\nConnection: close\r\n\r\n')
      assert.match((await once(client, 'data'))[0], /GET\|\/next\|/, 'the connection goes on')
      await eventually(() => world.vhosts.stats().totals.inFlight === 0)
    })
  }

  it('leaves nothing on a connection that offers it with each request', async () => {
    await using world = await World.start()
    world.site('aries.test', 'answer')
    const sockets: Socket[] = []
    world.server.on('request', ({ socket }) => sockets.push(socket))
    const client = connect(world.port).setEncoding('latin1')
    const counts: number[] = []
    for (let n = 0; n < 3; n++) {
      client.write(`GET / HTTP/1.1\r\nHost: aries.test\r\n${H2C}\r\n`)
      await once(client, 'data')
      counts.push((sockets[n] as Socket).listenerCount('error'))
    }
    assert.equal(new Set(sockets).size, 1)
    assert.equal(new Set(counts).size, 1, counts.join())
    client.destroy()
  })

  it('reads the body of the request, however it comes', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', APP)
    const head = `POST / HTTP/1.1\r\nHost: aries.test\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n`
    for (const parts of [
      ['Content-Length: 5\r\n\r\nhello'],
      ['Content-Length: 5\r\n\r\n', 'hello'],
      ['Content-Length: 5\r\n\r\nhe', 'llo'],
      ['Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n', '2\r\nlo\r\n0\r\n\r\n'],
      ['Content-Length: 0\r\n\r\n'],
    ]) {
      const client = connect(world.port).setEncoding('latin1')
      client.write(head)
      const arrived = new Promise(resolve => world.server.once('upgrade', resolve))
      for (const part of parts) {
        client.write(part)
        await arrived
      }
      const answer = (await client.toArray()).join('')
      assert.match(answer, /^HTTP\/1\.1 200 /, answer)
      assert.match(answer, parts.length > 1 || parts[0]?.endsWith('o') ? /POST\|\/\|hello\|/ : /POST\|\/\|\|/)
    }
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
  })

  it('answers at length to a client that reads slowly, with a body and without', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `const { Readable } = require('node:stream')
      const parts = Array.from({ length: 100 }, () => Buffer.alloc(65536, 'x'))
      module.exports = (req, res) => { req.resume(); Readable.from(parts).pipe(res) }`,
    )
    for (const start of ['GET / HTTP/1.1', 'POST / HTTP/1.1\r\nContent-Length: 1']) {
      const client = connect(world.port)
      client.write(`${start}\r\nHost: aries.test\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n`)
      if (start.startsWith('POST')) client.write('x')
      let length = 0
      for await (const chunk of client) {
        length += chunk.length
        await new Promise(resolve => setImmediate(resolve))
      }
      assert.ok(length > 100 * 65536, `${start}: ${length}`)
    }
    await eventually(() => world.vhosts.stats().totals.inFlight === 0)
  })

  it('is served by the whole server: static files, the outer app, its errors', async () => {
    await using world = await World.start({}, (app, vhosts) => {
      app.get('/outer', (_req, res) => void res.send('outer'))
      app.use(vhosts.static(), vhosts)
    })
    world.write('aries.test/static/style.css', 'i {}')
    world.write('taurus.test/app/index.js', 'throw new Error("boom")')
    const ask = (path: string, host: string): Promise<string> =>
      world.raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n`)
    assert.match(await ask('/style.css', 'aries.test'), /^HTTP\/1\.1 200 [\s\S]*i \{\}$/)
    assert.match(await ask('/outer', 'aries.test'), /^HTTP\/1\.1 200 [\s\S]*outer$/)
    assert.match(await ask('/', 'aries.test'), /^HTTP\/1\.1 404 [\s\S]*nobody serves aries\.test$/)
    assert.match(await ask('/', 'taurus.test'), /^HTTP\/1\.1 500 [\s\S]*outer error$/)
    assert.match(await ask('/', 'a..b'), /^HTTP\/1\.1 400 [\s\S]*outer error$/)
  })
})

describe('vectors of the group upgrade', () => {
  const { vectors } = JSON.parse(readFileSync('spec/vectors/hosts.json', 'utf8')) as { vectors: Row[] }
  for (const row of vectors.filter(({ transport }) => transport === 'h1-upgrade')) {
    it(`${row.id} (${row.why})`, async () => {
      await using world = await World.start()
      for (const name of ['example.com', 'other.example']) {
        world.write(
          `${name}/app/index.js`,
          `exports.handler = () => {}
          exports.upgrade = (req, socket) => socket.end('${SWITCHED}${name}')`,
        )
      }
      const answer = await world.raw(row.raw)
      if (row.expect === 'valid') assert.ok(answer.endsWith(`\r\n\r\n${row.name}`), answer)
      else assert.match(answer, new RegExp(`^HTTP/1\\.1 ${row.status} `))
    })
  }
})

interface Answered {
  socket: Socket
  text: string
}

interface Client {
  socket: Socket
  text: string
  ask: (text: string) => Promise<string>
}

function offer(host: string, path: string, more = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n${more}`
}

/** What arrives until the server closes. */
async function upgrade(world: World, host: string, path = '/'): Promise<string> {
  return await world.raw(offer(host, path))
}

/** Has a request answered first. */
async function answeredBefore(world: World, host: string, path: string): Promise<Answered> {
  const socket = connect({ port: world.port, allowHalfOpen: true }).setEncoding('latin1')
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  assert.match((await once(socket, 'data'))[0], /^HTTP\/1\.1 200 /)
  const client = { socket, text: '' }
  socket.on('data', text => {
    client.text += text
  })
  socket.write(offer(host, path))
  return client
}

async function open(world: World, host: string, path = '/', more = ''): Promise<Client> {
  const socket = connect(world.port).setEncoding('latin1')
  socket.on('error', () => {})
  socket.write(offer(host, path, more))
  let text = ''
  while (!text.endsWith('.')) text += (await once(socket, 'data'))[0]
  return {
    socket,
    text,
    ask: async question => {
      socket.write(question)
      return (await once(socket, 'data'))[0]
    },
  }
}

async function once(socket: Socket, event: string): Promise<[string]> {
  return await new Promise((resolve, reject) => {
    socket.once(event, data => resolve([data]))
    socket.once('close', () => reject(new Error('the server closed')))
  })
}
