import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ask } from '../../lib/cli/control-client.ts'
import { startControl } from '../../lib/cli/control-server.ts'
import type { VhostRouter } from '../../lib/index.ts'
import { resultOfChild, runChild } from '../support/child.ts'
import { StoppedServer } from '../support/stopped-server.ts'
import { eventually } from '../support/world.ts'

describe('startControl()', () => {
  it('cuts off clients that ask for events and do not read them', async () => {
    const vhosts = new EventEmitter()
    await withFolder(async folder => {
      const socketPath = join(folder, 'control.sock')
      const server = await startControl(socketPath, vhosts as unknown as VhostRouter)
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        http.get({ socketPath, path: '/events' }, resolve).on('error', reject)
      })
      response.on('error', () => {})
      await eventually(() => vhosts.listenerCount('load') === 1)
      for (let i = 0; i < 4000; i++) vhosts.emit('load', { hostnames: ['x'.repeat(1000)] })
      await eventually(() => vhosts.listenerCount('load') === 0)
      response.destroy()
      server.close()
    })
  })

  it('tells any number of clients of events, without a warning of a leak', async () => {
    const vhosts = new EventEmitter()
    await withFolder(async folder => {
      const socketPath = join(folder, 'control.sock')
      const server = await startControl(socketPath, vhosts as unknown as VhostRouter)
      const readers = Array.from({ length: EventEmitter.defaultMaxListeners + 1 }, async () => {
        const [response] = (await once(
          http.get({ socketPath, path: '/events', agent: false }),
          'response',
        )) as [IncomingMessage]
        return response.setEncoding('utf8')
      })
      const responses = await Promise.all(readers)
      assert.equal(vhosts.listenerCount('load'), 1)
      const told = responses.map(response => once(response, 'data'))
      vhosts.emit('load', { hostnames: ['aries.test'] })
      for (const [line] of await Promise.all(told)) {
        assert.match(line, /"event":"load","hostnames":\["aries\.test"\]\}\n$/)
      }
      server.end()
      await eventually(() => vhosts.listenerCount('load') === 0)
    })
  })

  it('survives a target that is no URL', async () => {
    await withFolder(async folder => {
      const socketPath = join(folder, 'control.sock')
      const server = await startControl(socketPath, new EventEmitter() as unknown as VhostRouter)
      for (const [path, status] of [
        ['//', 500],
        ['/other', 404],
      ] as const) {
        const response = await new Promise<IncomingMessage>((resolve, reject) => {
          http.get({ socketPath, path }, resolve).on('error', reject)
        })
        response.resume()
        assert.equal(response.statusCode, status)
      }
      server.close()
    })
  })

  it('distinguishes a host whose folder cannot be read, or is away, from one that leads nowhere', async () => {
    await withFolder(async folder => {
      const socketPath = join(folder, 'control.sock')
      const error = { code: 'ERR_VHOST_LOAD', message: 'its folder cannot be read', cause: 'Error: EACCES' }
      const why: { outcome: string; notes: string[]; error: object | null } = {
        outcome: 'no vhost',
        notes: [],
        error: null,
      }
      const vhosts = Object.assign(new EventEmitter(), { reload: () => undefined, why: () => why })
      const server = await startControl(socketPath, vhosts as unknown as VhostRouter)
      const reload = async (): Promise<object> => (await ask(socketPath, 'POST', '/reload', [])).body
      assert.deepEqual(await reload(), { outcome: 'no vhost', message: 'there is no vhost' })
      why.error = { ...error, stack: null }
      assert.deepEqual(await reload(), error)
      Object.assign(why, { outcome: 'app', notes: ['there is no base path'], error: null })
      assert.deepEqual(await reload(), { message: 'nothing was there to load; there is no base path' })
      server.close()
    })
  })

  it('treats a number as a file name, not as a port that anyone could ask', async t => {
    await withFolder(async folder => {
      const before = process.cwd()
      process.chdir(folder)
      t.after(() => process.chdir(before))
      const vhosts = Object.assign(new EventEmitter(), { stats: () => ({ apps: 'ours' }) })
      const server = await startControl('4555', vhosts as unknown as VhostRouter)
      assert.ok(lstatSync('4555').isSocket())
      assert.deepEqual((await ask('4555', 'GET', '/status', ['apps'])).body, { apps: 'ours' })
      await assert.rejects(startControl('4555', vhosts as unknown as VhostRouter), {
        message: /another server or another user already has/,
      })
      server.close()
    })
  })

  it('removes a socket that was left behind, and nothing else', async () => {
    await withFolder(async folder => {
      const vhosts = new EventEmitter() as unknown as VhostRouter
      const file = join(folder, 'notes.txt')
      writeFileSync(file, 'notes')
      const link = join(folder, 'link')
      symlinkSync(file, link)
      for (const path of [file, link, folder]) {
        await assert.rejects(startControl(path, vhosts), { message: /exists and is not a socket/ })
      }
      assert.equal(readFileSync(link, 'utf8'), 'notes')
      const path = join(folder, 'control.sock')
      await leaveBehind(path)
      assert.ok(lstatSync(path).isSocket())
      const server = await startControl(path, vhosts)
      server.close()
    })
  })

  it('says that the folder for the socket does not exist', async () => {
    await withFolder(async folder => {
      const path = join(folder, 'run', 'control.sock')
      const started = startControl(path, new EventEmitter() as unknown as VhostRouter)
      await assert.rejects(started, {
        message: `there is no folder ${join(folder, 'run')}; choose another with --socket`,
      })
    })
  })

  it('leaves a socket to whoever has made it in the same moment', async () => {
    await withFolder(async folder => {
      const vhosts = new EventEmitter() as unknown as VhostRouter
      const left = join(folder, 'left.sock')
      await leaveBehind(left)
      for (const path of [join(folder, 'control.sock'), left]) {
        const started = await Promise.allSettled([startControl(path, vhosts), startControl(path, vhosts)])
        const reasons = started.flatMap(one => (one.status === 'rejected' ? [String(one.reason)] : []))
        assert.equal(reasons.length, 1, path)
        assert.match(reasons.join(), /another server or another user already has/)
        for (const one of started) if (one.status === 'fulfilled') one.value.close()
      }
    })
  })

  it('leaves a socket to a suspended server that has no room for more connections', async () => {
    await using stopped = await StoppedServer.start()
    const waiting = await fillUp(stopped.path)
    const vhosts = new EventEmitter() as unknown as VhostRouter
    const started = startControl(stopped.path, vhosts)
    await assert.rejects(started, { message: /another server or another user already has/ })
    await assert.rejects(ask(stopped.path, 'GET', '/status', []), { message: /is suspended/ })
    assert.ok(lstatSync(stopped.path).isSocket())
    for (const socket of waiting) socket.destroy()
  })

  it('leaves a socket to another user, who may be using it', {
    skip: process.getuid?.() !== 0 && 'needs root to be another user',
  }, async () => {
    await withFolder(async folder => {
      const path = join(folder, 'control.sock')
      const theirs = createServer().listen(path)
      await new Promise(resolve => theirs.once('listening', resolve))
      chmodSync(path, 0o600)
      chmodSync(folder, 0o777)
      const { ino } = lstatSync(path)
      const error = await resultOfChild<string>(
        `import { startControl } from 'lib/cli/control-server.js'
        process.setgroups([])
        process.setuid(65534)
        startControl(${JSON.stringify(path)}, {}).then(
          control => control.close(),
          ({ message }) => console.log(JSON.stringify(message)),
        )`,
      )
      assert.match(error, /another user already has/)
      assert.equal(lstatSync(path).ino, ino)
      theirs.close()
    })
  })

  it('makes a socket again that somebody has removed, with its folder, and never replaces another socket', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    await withFolder(async above => {
      const folder = join(above, 'run')
      const path = join(folder, 'control.sock')
      const vhosts = Object.assign(new EventEmitter(), { stats: () => ({ apps: 'ours' }) })
      const control = await startControl(path, vhosts as unknown as VhostRouter, () =>
        mkdirSync(folder, { recursive: true }),
      )
      rmSync(folder, { recursive: true })
      t.mock.timers.tick(5000)
      await eventually(() => existsSync(path))
      assert.equal(lstatSync(path).mode & 0o777, 0o600)
      assert.deepEqual((await ask(path, 'GET', '/status', ['apps'])).body, { apps: 'ours' })
      const { ino } = lstatSync(path)
      t.mock.timers.tick(5000)
      assert.equal(lstatSync(path).ino, ino)
      control.close()
      t.mock.timers.tick(5000)
      assert.ok(!existsSync(path))
    })
  })

  it('does not wait for an answer from whoever already listens there', async () => {
    await withFolder(async folder => {
      const path = join(folder, 'control.sock')
      const suspended = createServer(() => {}).listen(path)
      await new Promise(resolve => suspended.once('listening', resolve))
      await assert.rejects(startControl(path, new EventEmitter() as unknown as VhostRouter), {
        message: /another server or another user already has/,
      })
      suspended.close()
    })
  })
})

/** Makes the socket of a server that was killed. */
async function leaveBehind(path: string): Promise<void> {
  await runChild(`import { createServer } from 'node:net'
    createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`)
}

/** Connects until there is no room for another connection. */
async function fillUp(path: string): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (;;) {
    const socket = connect({ path })
    const isFull = await new Promise<boolean>(resolve => {
      socket.once('connect', () => resolve(false)).once('error', () => resolve(true))
    })
    if (isFull) return sockets
    sockets.push(socket)
  }
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'van-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
