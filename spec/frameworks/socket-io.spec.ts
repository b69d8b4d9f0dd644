import assert from 'node:assert/strict'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { describe, it } from 'node:test'
import { Server } from 'socket.io'
import { io, type Socket } from 'socket.io-client'
import { WebSocket } from 'ws'
import type { Isolation } from '../../lib/index.ts'
import { eventually, World } from '../support/world.ts'

const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']] as const

/** Sends each client its name, and sends what one client says to all of its clients. */
const ROOM = (server: string, name: string): string => `
  const room = new (require('socket.io').Server)(${server})
  room.on('connection', socket => {
    socket.emit('name', '${name}')
    socket.on('say', text => room.emit('said', '${name}: ' + text))
  })
  room.engine.on('connection_error', ({ message }) => console.error(message))
`

const SITES: Record<string, (name: string) => string> = {
  'a program that listens': name => `
    const app = require('express')().get('/', (req, res) => res.send('${name}'))
    const server = app.listen(3000)
    ${ROOM('server', name)}`,
  'an exported server': name => `
    const server = require('node:http').createServer((req, res) => res.end('${name}'))
    ${ROOM('server', name)}
    module.exports = server`,
  'an app of Fastify': name => `
    const app = require('fastify')().get('/', async () => '${name}')
    ${ROOM('app.server', name)}
    module.exports = app`,
  'a program of Koa': name => `
    const app = new (require('koa'))().use(ctx => { ctx.body = '${name}' })
    const server = require('node:http').createServer(app.callback())
    ${ROOM('server', name)}
    server.listen(3000)`,
}

for (const isolation of ['none', 'thread', 'process'] as const) {
  describe(`socket.io, isolation: '${isolation}',`, () => behaves(isolation))
}

function behaves(isolation: Isolation): void {
  const withSites = (source: Source, ...names: string[]): Promise<World> => start(isolation, source, names)

  for (const [site, source] of Object.entries(SITES)) {
    for (const transports of TRANSPORTS) {
      it(`works in ${site} by ${transports.join(', then ')}`, async () => {
        await using world = await withSites(source, 'aries')
        using client = new Client(world, 'aries', transports)
        await client.named('aries')
        await eventually(() => client.transport === transports.at(-1))
        client.say('hello')
        await client.heard('aries: hello')
        assert.equal(await world.body('aries.test'), 'aries')
      })
    }
  }

  for (const transports of TRANSPORTS) {
    it(`of one vhost never hears that of another, by ${transports.join(', then ')}`, async () => {
      await using world = await withSites(SITES['a program that listens'] as Source, 'aries', 'taurus')
      using aries = new Client(world, 'aries', transports)
      using taurus = new Client(world, 'taurus', transports)
      await Promise.all([aries.named('aries'), taurus.named('taurus')])
      for (const text of ['one', 'two']) {
        aries.say(text)
        taurus.say(text)
      }
      await aries.heard('aries: one', 'aries: two')
      await taurus.heard('taurus: one', 'taurus: two')
    })
  }

  it('of the outer server and of a vhost live side by side', async () => {
    await using world = await withSites(SITES['an exported server'] as Source, 'aries')
    const outer = new Server(world.server, { path: '/outer/', destroyUpgrade: false })
    outer.on('connection', socket => socket.emit('name', 'outer'))
    for (const transports of TRANSPORTS) {
      using client = new Client(world, 'aries', transports)
      using other = new Client(world, 'nobody', transports, '/outer/')
      await Promise.all([client.named('aries'), other.named('outer')])
      await eventually(() => other.transport === transports.at(-1) && client.transport === transports.at(-1))
    }
    outer.engine.close()
  })

  it('keeps its WebSockets at a reload until the deadline; new clients reach the new release', async () => {
    const source = SITES['a program that listens'] as Source
    await using world = await withSites(source, 'aries')
    using old = new Client(world, 'aries', ['websocket'], '/socket.io/', { reconnection: false })
    using polling = new Client(world, 'aries', ['polling'])
    await Promise.all([old.named('aries'), polling.named('aries')])

    world.write('aries.test/app/index.js', source('renewed'))
    await world.vhosts.reload('aries.test')
    using next = new Client(world, 'aries', ['websocket'])
    await next.named('renewed')
    // The new release does not know the client's session, so the client begins another.
    polling.say('lost')
    await polling.named('renewed')
    old.say('still here')
    next.say('hello')
    await old.heard('aries: still here')
    await next.heard('renewed: hello')

    const closed = new Promise(resolve => old.socket.once('disconnect', resolve))
    await world.vhosts.close({ drainTimeout: 0 })
    assert.equal(await closed, 'transport close')
  })

  it('shares the server of a vhost with ws', async () => {
    await using world = await withSites(
      name => `
      const server = require('node:http').createServer((req, res) => res.end('${name}'))
      ${ROOM('server, { destroyUpgrade: false }', name)}
      const sockets = new (require('ws').WebSocketServer)({ noServer: true })
      server.on('upgrade', (req, socket, head) => {
        if (req.url === '/ws') sockets.handleUpgrade(req, socket, head, client => client.send('${name} by ws'))
      })
      module.exports = server`,
      'aries',
    )
    using client = new Client(world, 'aries', ['websocket'])
    await client.named('aries')
    const plain = new WebSocket(`ws://127.0.0.1:${world.port}/ws`, { headers: { host: 'aries.test' } })
    assert.equal(String((await once(plain, 'message'))[0]), 'aries by ws')
    assert.equal(world.vhosts.stats().totals.inFlight, 2)
    plain.close()
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
  })

  it('beside an app of Express 4 leaves that app its query', async () => {
    await using world = await withSites(
      name => `
      const app = require('express4')().get('/', (req, res) => res.send('${name} ' + req.query.a))
      ${ROOM('app.listen(3000)', name)}`,
      'aries',
    )
    assert.equal(await world.body('aries.test', '/?a=b'), 'aries b')
  })
}

type Source = (name: string) => string

async function start(isolation: Isolation, source: Source, names: readonly string[]): Promise<World> {
  const world = await World.start({ isolation, trustProxy: 'loopback' })
  for (const name of names) {
    world.link(`${name}.test/node_modules`, resolve('node_modules'))
    world.write(`${name}.test/app/index.js`, source(name))
  }
  return world
}

class Client {
  readonly socket: Socket
  #name = ''
  readonly #heard: string[] = []

  constructor(
    world: World,
    host: string,
    transports: readonly string[],
    path = '/socket.io/',
    options: { reconnection?: boolean } = {},
  ) {
    this.socket = io(`http://127.0.0.1:${world.port}`, {
      path,
      transports: [...transports],
      // The client's polling sets Host itself.
      extraHeaders: { 'x-forwarded-host': `${host}.test` },
      forceNew: true,
      reconnectionDelay: 10,
      ...options,
    })
    this.socket.on('name', name => {
      this.#name = name
    })
    this.socket.on('said', text => this.#heard.push(text))
  }

  get transport(): string | undefined {
    return this.socket.io.engine?.transport.name
  }

  say(text: string): void {
    this.socket.emit('say', text)
  }

  async named(name: string): Promise<void> {
    await eventually(() => assert.equal(this.#name, name))
  }

  /** Resolves once the client has heard exactly this. */
  async heard(...texts: string[]): Promise<void> {
    await eventually(() => assert.deepEqual(this.#heard, texts))
  }

  [Symbol.dispose](): void {
    this.socket.disconnect()
  }
}
