import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ConnectionPool } from '../../lib/launch/connection-pool.ts'
import { resultOfChild } from '../support/child.ts'
import { StoppedServer } from '../support/stopped-server.ts'
import { eventually } from '../support/world.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const LAST = OK.replace('\r\n', '\r\nConnection: close\r\n')

const onLinux = { skip: process.platform !== 'linux' && 'prlimit is of Linux' }

describe('ConnectionPool', () => {
  it('keeps a connection for the next request', async () => {
    await using app = await App.start((_, socket) => void socket.write(OK))
    for (let time = 0; time < 5; time++) assert.equal(await app.ask(), 'ok')
    assert.equal(app.connections, 1)
  })

  it('opens one for each request that finds none free, and keeps no more than 256', async () => {
    const waiting: Socket[] = []
    await using app = await App.start((_, socket) => void waiting.push(socket))
    const answers = Array.from({ length: 300 }, () => app.ask())
    await eventually(() => waiting.length === 300)
    for (const socket of waiting) socket.write(OK)
    assert.deepEqual(new Set(await Promise.all(answers)), new Set(['ok']))
    await eventually(() => app.open.size === 256)
  })

  it('gives no connection to two requests, however often it emits free', async () => {
    await using app = await App.start((head, socket) => {
      const [, path = ''] = head.split(' ')
      setTimeout(() => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`), 5)
    })
    const sockets = new Set<Socket>()
    app.used = socket => {
      sockets.add(socket)
      // The socket is in use.
      socket.emit('free')
    }
    for (let round = 0; round < 5; round++) {
      const paths = Array.from({ length: 4 }, (_, n) => `/${round}${n}`)
      assert.deepEqual(await Promise.all(paths.map(path => app.ask(path))), paths)
      // The socket already waits for a request.
      for (const socket of sockets) socket.emit('free')
    }
    assert.equal(app.connections, 4)
  })

  it('uses no connection that the app has closed', async () => {
    await using app = await App.start((_, socket) => void socket.write(OK))
    await app.ask()
    for (const socket of app.open) socket.end()
    await eventually(() => app.open.size === 0)
    assert.equal(await app.ask(), 'ok')
    assert.equal(app.connections, 2)
  })

  it('closes what nobody has needed for ten seconds, as after a burst', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    await using app = await App.start((_, socket) => void socket.write(OK))
    await Promise.all(Array.from({ length: 5 }, () => app.ask()))
    assert.equal(app.open.size, 5)
    t.mock.timers.tick(10_000)
    await Promise.all([app.ask(), app.ask()])
    assert.equal(app.open.size, 5)
    t.mock.timers.tick(10_000)
    await eventually(() => app.open.size === 2)
    assert.equal(await app.ask(), 'ok')
    t.mock.timers.tick(10_000)
    await eventually(() => app.open.size === 1)
    t.mock.timers.tick(10_000)
    await eventually(() => app.open.size === 0)
    assert.equal(await app.ask(), 'ok')
    assert.equal(app.connections, 6)
  })

  it('closes a connection on which unrequested bytes arrive', async () => {
    await using app = await App.start((_, socket) => void socket.write(OK))
    await app.ask()
    for (const socket of app.open) socket.write(OK.replace('ok', 'no'))
    await eventually(() => app.open.size === 0)
    assert.equal(await app.ask(), 'ok')
  })

  it('keeps the process alive for a request, but not for an idle connection', () => {
    const module = new URL('../../lib/launch/connection-pool.js', import.meta.url)
    const folder = mkdtempSync(join(tmpdir(), 'express-van-pool-'))
    const program = `
      import http from 'node:http'
      import net from 'node:net'
      import { ConnectionPool } from '${module}'
      const path = ${JSON.stringify(join(folder, '1'))}
      const server = net.createServer(socket => {
        socket.unref().on('data', () => setTimeout(() => socket.write(${JSON.stringify(OK)}), 20).unref())
      })
      server.unref().listen(path, () => {
        const agent = new ConnectionPool(path)
        http.get({ agent }, response => response.resume().on('end', () => console.log('answered')))
      })`
    const args = ['--input-type=module', '--eval', program]
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: 10_000,
    })
    rmSync(folder, { recursive: true })
    assert.deepEqual([status, stdout, stderr], [0, 'answered\n', ''])
  })

  for (const [name, isOpen] of [
    ['waits for a connection that is open', true],
    ['fails at once, where none is open,', false],
  ] as const) {
    it(`${name} if no file descriptor is left`, onLinux, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'express-van-pool-'))
      const result = await resultOfChild<unknown>(
        `
        import { execFileSync } from 'node:child_process'
        import http from 'node:http'
        import net from 'node:net'
        import { text } from 'node:stream/consumers'
        import { ConnectionPool } from 'lib/launch/connection-pool.js'
        const path = ${JSON.stringify(join(folder, '1'))}
        const answers = []
        const server = net.createServer(socket => {
          socket.on('data', () => answers.push(() => socket.write(${JSON.stringify(OK)})))
        })
        await new Promise(resolve => server.listen(path, resolve))
        const agent = new ConnectionPool(path)
        const ask = () => new Promise((resolve, reject) => {
          http.get({ agent }, response => text(response).then(resolve)).on('error', ({ code }) => resolve(code))
        })
        const asked = async count => {
          while (answers.length < count) await new Promise(resolve => setTimeout(resolve, 5))
        }
        const all = []
        if (${isOpen}) {
          all.push(ask())
          await asked(1)
        }
        // Not by opening as many files as possible: another thread, of V8, may close one a moment later.
        execFileSync('prlimit', ['--pid', process.pid, '--nofile=0:'])
        all.push(ask(), ask())
        if (${isOpen}) {
          for (let count = 1; count <= 3; count++) {
            await asked(count)
            answers[count - 1]()
          }
        }
        console.log(JSON.stringify(await Promise.all(all)))
        process.exit()
        `,
      ).finally(() => rmSync(folder, { recursive: true }))
      assert.deepEqual(result, isOpen ? ['ok', 'ok', 'ok'] : ['EMFILE', 'EMFILE'])
    })
  }

  it('leaves no request waiting if a connection becomes free meanwhile, and closes', onLinux, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-pool-'))
    const result = await resultOfChild<unknown>(
      `
      import { execFileSync, spawn } from 'node:child_process'
      import http from 'node:http'
      import net from 'node:net'
      import { text } from 'node:stream/consumers'
      import { ConnectionPool } from 'lib/launch/connection-pool.js'
      const path = ${JSON.stringify(join(folder, '1'))}
      const raise = spawn('sh', ['-c', 'read now; prlimit --pid $0 --nofile=1000:', process.pid])
      let answers = 0
      const server = net.createServer(socket => {
        socket.on('data', () => {
          if (++answers === 1) socket.write(${JSON.stringify(OK)})
          else if (answers > 2) socket.end(${JSON.stringify(LAST)})
          else raise.once('exit', () => socket.end(${JSON.stringify(LAST)})).stdin.end('now\\n')
        })
      })
      await new Promise(resolve => server.listen(path, resolve))
      const agent = new ConnectionPool(path)
      const ask = then => new Promise(resolve => {
        const request = http.get({ agent }, response => resolve(text(response.once('end', then ?? (() => {})))))
        request.on('error', ({ code }) => resolve(code))
      })
      const others = []
      await ask(() => {
        execFileSync('prlimit', ['--pid', process.pid, '--nofile=0:'])
        // The connection is free a moment later, but before these hear that they get none.
        others.push(ask(), ask())
      })
      console.log(JSON.stringify(await Promise.all(others)))
      process.exit()
      `,
    ).finally(() => rmSync(folder, { recursive: true }))
    assert.deepEqual(result, ['ok', 'ok'])
  })

  it('waits if the app has no room for a connection, and tries again', async () => {
    await using app = await App.start((_, socket) => void socket.write(OK), 1)
    const answers = await Promise.all(Array.from({ length: 50 }, () => app.ask()))
    assert.deepEqual(new Set(answers), new Set(['ok']))
  })

  it('runs in the context of each request, even if it waited for a connection', async () => {
    await using app = await App.start((_, socket) => void socket.write(OK), 1)
    const context = new AsyncLocalStorage<number>()
    const seen: unknown[] = []
    app.used = () => seen.push(context.getStore())
    await Promise.all(Array.from({ length: 20 }, (_, n) => context.run(n, () => app.ask())))
    assert.deepEqual(new Set(seen), new Set(Array.from({ length: 20 }, (_, n) => n)))
  })

  describe('before an app that accepts nothing', () => {
    it('forgets a request whose client leaves, and serves the others as soon as it can', async () => {
      await using app = await BusyApp.start()
      const requests = Array.from({ length: 20 }, () => app.ask())
      await delay(50)
      const gone = requests.filter((_, n) => n % 2 === 0)
      for (const { request } of gone) request.destroy()
      app.server.goOn()
      const ends = await Promise.all(requests.map(({ end }) => end))
      assert.deepEqual(
        ends,
        requests.map((_, n) => (n % 2 === 0 ? 'socket hang up' : 'ok')),
      )
    })

    it('ends what waits when it is destroyed', async () => {
      await using app = await BusyApp.start()
      const requests = Array.from({ length: 20 }, () => app.ask())
      await delay(50)
      app.pool.destroy()
      const ends = await Promise.all(requests.map(({ end }) => end))
      assert.deepEqual(new Set(ends), new Set(['socket hang up']))
    })

    it('tells each request that the app is gone when it ends', async () => {
      await using app = await BusyApp.start()
      const requests = Array.from({ length: 20 }, () => app.ask())
      await delay(50)
      app.server.kill()
      const ends = await Promise.all(requests.map(({ end }) => end))
      // Requests that the system had already accepted meet a broken connection instead.
      assert.ok(ends.filter(end => /^connect ECONNREFUSED/.test(end)).length > 10, ends.join())
    })
  })

  it('closes connections, both idle and in use, when it is destroyed', async () => {
    await using app = await App.start((head, socket) => {
      if (!head.startsWith('GET /never')) socket.write(OK)
    })
    const failed = app.ask('/never').then(String, (error: Error) => error.message)
    await eventually(() => app.open.size === 1)
    await app.ask()
    assert.equal(app.open.size, 2)
    app.pool.destroy()
    assert.equal(await failed, 'socket hang up')
    await eventually(() => app.open.size === 0)
  })
})

/** A raw byte server behind a private socket, and a pool that connects to it. */
class App {
  readonly pool: ConnectionPool
  readonly open = new Set<Socket>()
  connections = 0
  /** Called with the connection that a request is given. */
  used: (socket: Socket) => void = () => {}
  readonly #folder = mkdtempSync(join(tmpdir(), 'express-van-pool-'))
  readonly #server: Server

  private constructor(answer: (head: string, socket: Socket) => void) {
    this.pool = new ConnectionPool(join(this.#folder, '1'))
    this.#server = createServer(socket => {
      this.connections++
      this.open.add(socket)
      socket.on('close', () => this.open.delete(socket))
      socket.on('data', head => answer(String(head), socket))
    })
  }

  /** `backlog` is how many connections the system queues for it. */
  static async start(answer: (head: string, socket: Socket) => void, backlog?: number): Promise<App> {
    const app = new App(answer)
    await once(app.#server.listen({ path: join(app.#folder, '1'), backlog }), 'listening')
    return app
  }

  async ask(path = '/'): Promise<string> {
    const request = http.get({ agent: this.pool, path, headers: { host: 'a.test' } })
    request.on('socket', socket => process.nextTick(this.used, socket))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const body = await text(response)
    await new Promise(resolve => process.nextTick(resolve))
    return body
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pool.destroy()
    await new Promise(resolve => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true })
  }
}

/** A server in a stopped process, and a pool that connects to it. */
class BusyApp {
  readonly pool: ConnectionPool
  readonly server: StoppedServer

  private constructor(server: StoppedServer) {
    this.server = server
    this.pool = new ConnectionPool(server.path)
  }

  static async start(): Promise<BusyApp> {
    return new BusyApp(await StoppedServer.start())
  }

  /** Sends a request; `end` resolves to its answer or its error. */
  ask(): { request: ClientRequest; end: Promise<string> } {
    const request = http.get({ agent: this.pool, headers: { host: 'a.test' } })
    const end = new Promise<string>(resolve => {
      request
        .on('error', ({ message }) => resolve(message))
        .on('response', response => resolve(text(response)))
    })
    return { request, end }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pool.destroy()
    await this.server[Symbol.asyncDispose]()
  }
}
