import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex, PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import type { VhostError } from '../../lib/errors.ts'
import { Forward } from '../../lib/launch/forward.ts'
import type { ForwardOptions } from '../../lib/launch/forward-options.ts'
import { refuseUpgrade } from '../../lib/upgrade/refuse-upgrade.ts'
import { StoppedServer } from '../support/stopped-server.ts'
import { eventually } from '../support/world.ts'

const CLIENTS = 20
const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n'

describe('UpgradeExchange', () => {
  it('waits if a busy app has no room for a connection', async () => {
    await using app = await StoppedServer.start()
    await using door = await Door.open(app.path)
    const clients = await door.enter(CLIENTS)
    app.goOn()
    for (const answer of await Promise.all(clients.map(text))) {
      assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*\r\n\r\nok$/)
    }
    assert.deepEqual(door.failures, [])
  })

  it('is refused if the app ends while it waits', async () => {
    await using app = await StoppedServer.start()
    await using door = await Door.open(app.path)
    const clients = await door.enter(CLIENTS)
    app.kill()
    for (const answer of await Promise.all(clients.map(text))) assert.match(answer, /^HTTP\/1\.1 502 /)
    assert.equal(door.failures.length, CLIENTS)
  })

  it('throws if the head cannot be sent, and does not throw again when the socket closes', async () => {
    await using app = await StoppedServer.start()
    const forward = new Forward({ ...optionsOf(app), broken: () => assert.fail('nothing was sent') })
    const socket = new PassThrough()
    const req = new IncomingMessage(new Socket())
    req.url = '/a b'
    assert.throws(() => forward.upgrade(req, socket, Buffer.alloc(0), error => assert.fail(error as Error)), {
      code: 'ERR_UNESCAPED_CHARACTERS',
    })
    socket.destroy()
    await once(socket, 'close')
  })

  it('stops asking once its socket is closed', async () => {
    await using app = await StoppedServer.start()
    await using door = await Door.open(app.path)
    await door.enter(CLIENTS)
    door.cut()
    app.kill()
    const [last] = await door.enter(1)
    assert.match(await text(last as Socket), /^HTTP\/1\.1 502 /)
    // Only the last upgrade fails, and those that the system had already accepted.
    assert.ok(door.failures.length < CLIENTS / 2, door.failures.join('; '))
  })

  it('asks again only for what is safe to repeat', async () => {
    await using app = await UpgradeApp.start(socket => socket.destroy())
    await using door = await Door.open(app.path)
    for (const method of ['GET', 'POST']) {
      const [client] = (await door.enter(1, {}, method)) as [Socket]
      assert.match(await text(client), /^HTTP\/1\.1 502 /)
    }
    assert.deepEqual(door.askable, ['GET'])
  })

  it('leaves nothing of an attempt on a connection that is taken at the next one', async () => {
    let asked = 0
    await using app = await UpgradeApp.start(socket => {
      asked++
      if (asked === 1) socket.destroy()
      if (asked !== 2) return
      socket.write(SWITCHED)
      socket.on('data', data => socket.write(data)).on('end', () => setImmediate(() => socket.end('bye')))
    })
    await using door = await Door.open(app.path, 1000)
    door.retries = 1
    const [client] = (await door.enter(1)) as [Socket]
    let received = ''
    client.setEncoding('latin1').on('data', data => {
      received += data
    })
    await eventually(() => received.endsWith('\r\n\r\n'))
    client.write('one')
    await eventually(() => received.endsWith('one'))
    // By the time limit of the first attempt, this one is over, too.
    const [unanswered] = (await door.enter(1)) as [Socket]
    assert.match(await text(unanswered), /^HTTP\/1\.1 50[34] /)
    client.end('two')
    await eventually(() => received.endsWith('onetwobye'))
  })

  it('ends the whole connection if the app refuses, whatever the client leaves open', async () => {
    await using app = await UpgradeApp.start(socket => {
      socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno')
    })
    await using door = await Door.open(app.path)
    const [client] = (await door.enter(1, { allowHalfOpen: true })) as [Socket]
    await once(client.resume(), 'end')
    await eventually(() => door.areClosed)
    client.destroy()
  })

  it('cuts a refusal that the app breaks off', async () => {
    await using app = await UpgradeApp.start(socket => {
      socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\nno', () => socket.destroy())
    })
    await using door = await Door.open(app.path)
    const [client] = (await door.enter(1)) as [Socket]
    const answer = text(client)
    await eventually(() => door.areClosed)
    assert.match(await answer, /^HTTP\/1\.1 401 Unauthorized\r\n/)
  })

  it('leaves nothing of a client that ends before the app has answered', async () => {
    let left = 0
    await using app = await UpgradeApp.start(socket => {
      left++
      socket.resume().on('end', () => {
        left--
        socket.destroy()
      })
    })
    await using door = await Door.open(app.path)
    const clients = await door.enter(2, { allowHalfOpen: true })
    await eventually(() => left === 2)
    clients[0]?.destroy()
    clients[1]?.end()
    await eventually(() => door.areClosed && left === 0)
    clients[1]?.destroy()
  })

  it('keeps what a client sends before the app has answered, and passes it on in full', async () => {
    const sent = 'early '.repeat(50_000)
    await using app = await UpgradeApp.start(socket => {
      setImmediate(() => socket.write(SWITCHED))
      let got = ''
      socket.on('data', data => {
        got += data
        if (got.length === sent.length) socket.end(got === sent ? 'whole' : 'broken')
      })
    })
    await using door = await Door.open(app.path)
    const [client] = (await door.enter(1)) as [Socket]
    client.write(sent)
    assert.match(await text(client), /whole$/)
  })

  describe('with a time limit', () => {
    it('is refused if the app does not answer, and ends its connection to the app', async () => {
      let isClosed = false
      await using app = await UpgradeApp.start(socket => {
        socket.resume().on('close', () => {
          isClosed = true
        })
        socket.on('end', () => socket.end())
      })
      await using door = await Door.open(app.path, 50)
      const [client] = (await door.enter(1)) as [Socket]
      assert.match(await text(client), /^HTTP\/1\.1 504 Gateway Timeout\r\n/)
      await eventually(() => isClosed)
      assert.deepEqual(door.failures, [])
    })

    it('is refused while it waits for room, and stops asking', async () => {
      await using app = await StoppedServer.start()
      await using door = await Door.open(app.path, 50)
      const clients = await door.enter(CLIENTS)
      for (const answer of await Promise.all(clients.map(text))) assert.match(answer, /^HTTP\/1\.1 504 /)
      app.kill()
      assert.deepEqual(door.failures, [])
    })

    it('passes on an answer that arrives in time even if the router is held up until it is late', async t => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      await using app = await UpgradeApp.start(socket => {
        socket.end(`${SWITCHED}in time`)
        // The router's timer comes first, then whatever has long been there to read.
        t.mock.timers.tick(100)
      })
      await using door = await Door.open(app.path, 100)
      const [client] = (await door.enter(1)) as [Socket]
      assert.match(await text(client), /^HTTP\/1\.1 101 [\s\S]*in time$/)
      t.mock.timers.tick(100)
    })
  })

  describe('when the app has ended, and the client has not read everything,', () => {
    const answer = async (app: UpgradeApp): Promise<SlowSocket> => {
      const socket = new SlowSocket()
      const req = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: '/' })
      req.headers.upgrade = 'a'
      new Forward(optionsOf(app)).upgrade(req, socket, Buffer.alloc(0), error => assert.fail(error as Error))
      await eventually(() => socket.waits > 0 || socket.destroyed)
      return socket
    }

    it('gives the rest to a client that reads it slowly, then closes', async () => {
      await using app = await UpgradeApp.start(socket => socket.end(`${SWITCHED}the rest`))
      const socket = await answer(app)
      socket.goOn()
      await eventually(() => socket.destroyed)
      assert.match(socket.text, /^HTTP\/1\.1 101 [\s\S]*\r\n\r\nthe rest$/)
    })

    it('closes if the client reads nothing for a long time', async () => {
      await using app = await UpgradeApp.start(socket => socket.end(`${SWITCHED}the rest`))
      const socket = await answer(app)
      assert.equal(socket.destroyed, false)
      socket.emit('timeout')
      assert.equal(socket.destroyed, true)
    })
  })
})

/** The socket of a client that reads nothing until it is told to. */
class SlowSocket extends Duplex {
  text = ''
  /** How often it had to wait for the client to read. */
  waits = 0
  #isReading = false
  #goOn: () => void = () => {}

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk
    if (this.#isReading) done()
    else this.#goOn = done
  }

  setTimeout(_: number, tell: () => void): void {
    this.waits++
    this.once('timeout', tell)
  }

  goOn(): void {
    this.#isReading = true
    this.#goOn()
  }
}

function optionsOf({ path }: { path: string }): ForwardOptions {
  return {
    trusts: undefined,
    socketPath: path,
    requestTimeout: 0,
    retry: () => false,
    broken: assert.fail,
    answered: () => {},
  }
}

/** An app behind a private socket that takes upgrades. */
class UpgradeApp {
  readonly path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'express-van-upgrade-'))
  readonly #sockets: Duplex[] = []
  readonly #server: Server

  private constructor(onUpgrade: (socket: Duplex) => void) {
    this.path = join(this.#folder, '1')
    this.#server = createServer().on('upgrade', (_, socket) => {
      this.#sockets.push(socket)
      onUpgrade(socket)
    })
  }

  static async start(onUpgrade: (socket: Duplex) => void): Promise<UpgradeApp> {
    const app = new UpgradeApp(onUpgrade)
    await once(app.#server.listen(app.path), 'listening')
    return app
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true })
  }
}

/** A server that forwards upgrades to an app. */
class Door {
  readonly failures: Error[] = []
  /** The methods of upgrades that might be asked again. */
  readonly askable: string[] = []
  /** How many of those are. */
  retries = 0
  readonly #sockets: Duplex[] = []
  readonly #server: Server

  private constructor(path: string, requestTimeout: number) {
    const forward = new Forward({
      trusts: undefined,
      socketPath: path,
      requestTimeout,
      retry: (req, socket, failed) => {
        this.askable.push(String(req.method))
        if (this.retries-- <= 0) return false
        forward.upgrade(req, socket as Duplex, Buffer.alloc(0), error => failed(error as VhostError))
        return true
      },
      broken: error => this.failures.push(error),
      answered: () => {},
    })
    this.#server = createServer().on('upgrade', (req, socket, head) => {
      this.#sockets.push(socket)
      forward.upgrade(req, socket, head, error => refuseUpgrade(socket, (error as VhostError).status))
    })
  }

  static async open(path: string, requestTimeout = 0): Promise<Door> {
    const door = new Door(path, requestTimeout)
    await once(door.#server.listen(0, '127.0.0.1'), 'listening')
    return door
  }

  /** Opens clients that ask for an upgrade. Resolves when their requests have been passed on. */
  async enter(count: number, options: { allowHalfOpen?: boolean } = {}, method = 'GET'): Promise<Socket[]> {
    const { port } = this.#server.address() as AddressInfo
    const before = this.#sockets.length
    const clients = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1', ...options }))
    for (const client of clients)
      client.write(`${method} / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n`)
    await eventually(() => this.#sockets.length === before + count)
    return clients
  }

  get areClosed(): boolean {
    return this.#sockets.every(({ destroyed }) => destroyed)
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }
}
