import assert from 'node:assert/strict'
import http from 'node:http'
import { createRequire } from 'node:module'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { timers } from './support/process-state.ts'
import { eventually, World } from './support/world.ts'

// What becomes of older generations of a vhost, of what is in flight on them, and of all of them at close().

/** What the apps below note about themselves, by hostname. */
interface Notes {
  /** Generations of ES modules that began to load. */
  readonly begun: string[]
  /** Generations that are loaded and not closed yet. */
  readonly live: Set<string>
  most: number
  readonly closed: string[]
  /** Ends the responses that were begun and left open. */
  readonly end: Map<string, () => void>
}
const notes = new Map<string, Notes>()
const gates = new Map<string, Promise<void>>()
Object.assign(globalThis, { generations: notes, gates })

function notesOf(host: string): Notes {
  const known = notes.get(host) ?? { begun: [], live: new Set<string>(), most: 0, closed: [], end: new Map() }
  notes.set(host, known)
  return known
}

/** An app that holds responses open at /open, echoes on upgraded sockets, and notes when it is loaded and closed. */
function entry(host: string, generation: string, isModule = false): string {
  const [begin, also, ready] = isModule
    ? [
        'export default ',
        'export const ',
        `notes.begun.push('${generation}'); await globalThis.gates.get('${host}')`,
      ]
    : ['module.exports = ', 'module.exports.', '']
  return `
    const notes = globalThis.generations.get('${host}')
    ${ready}
    notes.live.add('${generation}')
    notes.most = Math.max(notes.most, notes.live.size)
    ${begin}(req, res) => {
      if (req.url !== '/open') return res.end('${generation}')
      res.write('begun on ${generation}, ')
      notes.end.set('${generation}', () => res.end('ended on ${generation}'))
    }
    ${also}upgrade = (req, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
      socket.on('data', data => socket.write('${generation} heard ' + data))
      socket.on('end', () => socket.end())
    }
    ${also}close = () => { notes.live.delete('${generation}'); notes.closed.push('${generation}') }
  `
}

function deploy(world: World, host: string, generation: string): void {
  notesOf(host)
  world.write(`${host}/app/index.js`, entry(host, generation))
}

/** Deploys, and waits until the new generation serves. */
async function swap(world: World, host: string, generation: string): Promise<void> {
  deploy(world, host, generation)
  await eventually(async () => (await world.body(host)) === generation)
}

/** Begins a response that stays open, and waits for its first bytes. */
async function open(
  world: World,
  host: string,
): Promise<{ body: Promise<string>; request: http.ClientRequest }> {
  const request = http.get({ port: world.port, path: '/open', headers: { host }, agent: false })
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', reject)
  })
  response.setEncoding('utf8')
  let received = ''
  response.on('data', text => {
    received += text
  })
  const body = new Promise<string>(resolve => {
    response.once('close', () => resolve(received)).on('error', () => {})
  })
  await eventually(() => received.startsWith('begun'))
  return { body, request }
}

/** A client that waits for each answer in turn. */
class Wire {
  readonly socket: Socket
  received = ''
  isClosed = false

  constructor(world: World) {
    this.socket = connect(world.port, '127.0.0.1').setEncoding('latin1')
    this.socket.on('data', data => {
      this.received += data
    })
    this.socket
      .on('error', () => {})
      .on('close', () => {
        this.isClosed = true
      })
  }

  ask(host: string, path = '/', lines = ''): void {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`)
  }

  async upgraded(host: string): Promise<this> {
    this.ask(host, '/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')
    await eventually(() => this.received.includes('101 Switching'))
    this.received = ''
    return this
  }

  async hears(text: string): Promise<void> {
    await eventually(() => assert.ok(this.received.includes(text), this.received))
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

describe('generations of one vhost', () => {
  it('are at most two at once while deploys come one after another', async () => {
    await using world = await World.start()
    const host = 'two.test'
    await swap(world, host, '1')
    for (let generation = 2; generation <= 12; generation++) await swap(world, host, String(generation))
    await eventually(() => notesOf(host).live.size === 1)
    assert.ok(notesOf(host).most <= 2, `${notesOf(host).most}`)
    assert.deepEqual(
      notesOf(host).closed,
      Array.from({ length: 11 }, (_, index) => String(index + 1)),
    )
  })

  it('are at most two at once when a third release comes while the first still drains', async () => {
    await using world = await World.start({ drainTimeout: 1000 })
    const host = 'third.test'
    await swap(world, host, '1')
    const first = await open(world, host)
    await swap(world, host, '2')
    const second = await open(world, host)
    deploy(world, host, '3')
    await eventually(async () => (await world.body(host)) === '3')
    assert.equal(notesOf(host).most, 2)
    await Promise.all([first.body, second.body])
  })

  it('are at most two at once when links are flipped to and fro while streams are open', async () => {
    await using world = await World.start({ drainTimeout: 400 })
    const host = 'flips.test'
    for (const release of ['r1', 'r2', 'r3']) {
      notesOf(host)
      world.write(`../releases/${release}/app/index.js`, entry(host, release))
    }
    const streams: Promise<string>[] = []
    for (const release of ['r1', 'r2', 'r3', 'r2', 'r1']) {
      world.link(host, `../releases/${release}`)
      await eventually(async () => (await world.body(host)) === release)
      streams.push((await open(world, host)).body)
    }
    assert.equal(notesOf(host).most, 2)
    assert.deepEqual(notesOf(host).closed, ['r1', 'r2', 'r3'])
    await world.vhosts.close({ drainTimeout: 0 })
    await Promise.all(streams)
    assert.equal(notesOf(host).live.size, 0)
  })

  it('are at most two at once when names with a release each are led to one release, and then to another', async () => {
    await using world = await World.start({ drainTimeout: 1000 })
    const host = 'joined.test'
    notesOf(host)
    for (const release of ['j1', 'j3', 'j4']) {
      world.write(`../releases/${release}/app/index.js`, entry(host, release))
    }
    world.site('../releases/j2', 'j2')
    const lead = async (name: string, release: string): Promise<void> => {
      world.link(name, `../releases/${release}`)
      await eventually(async () => (await world.body(name)) === release)
    }
    await lead('one.joined.test', 'j1')
    await lead('other.joined.test', 'j2')
    const first = await open(world, 'one.joined.test')
    await lead('one.joined.test', 'j3')
    await lead('other.joined.test', 'j3')
    const second = await open(world, 'one.joined.test')
    await Promise.all([lead('one.joined.test', 'j4'), lead('other.joined.test', 'j4')])
    assert.equal(notesOf(host).most, 2)
    await Promise.all([first.body, second.body])
  })

  it('are at most two at once when one that was deleted drains, and is put back', async () => {
    await using world = await World.start({ drainTimeout: 1500 })
    const host = 'back.test'
    await swap(world, host, '1')
    const first = await open(world, host)
    world.remove(host)
    await eventually(async () => (await world.get(host)).status === 404)
    await swap(world, host, '2')
    const second = await open(world, host)
    await swap(world, host, '3')
    assert.equal(notesOf(host).most, 2)
    await Promise.all([first.body, second.body])
  })

  it('are at most two at once when reload() is called while the first still drains', async () => {
    await using world = await World.start({ drainTimeout: 400 })
    const host = 'called.test'
    await swap(world, host, '1')
    const { body } = await open(world, host)
    await swap(world, host, '2')
    await open(world, host)
    await world.vhosts.reload(host)
    assert.deepEqual(notesOf(host).closed, ['1'])
    assert.equal(notesOf(host).most, 2)
    await body
  })

  it('are few when deploys come in a burst, and the last one serves in the end', async () => {
    await using world = await World.start()
    const host = 'burst.test'
    await swap(world, host, '0')
    for (let generation = 1; generation <= 100; generation++) {
      deploy(world, host, String(generation))
      await delay(1)
    }
    await eventually(async () => (await world.body(host)) === '100')
    assert.ok(world.events('reload').length <= 30, `${world.events('reload').length} reloads of 100`)
    await eventually(() => notesOf(host).live.size === 1)
    assert.ok(notesOf(host).most <= 2)
  })

  it('grow by one for 50 calls of reload() at once', async () => {
    await using world = await World.start()
    const host = 'calls.test'
    await swap(world, host, '1')
    const releases = await Promise.all(Array.from({ length: 50 }, () => world.vhosts.reload(host)))
    assert.equal(new Set(releases.map(release => release?.version)).size, 1)
    assert.ok(world.events('reload').length <= 2, `${world.events('reload').length} reloads`)
  })

  it('contain what was on disk when reload() was called, even if a load was under way', async () => {
    await using world = await World.start({ watch: false, updateInterval: 60_000 })
    const host = 'stale.test'
    const dependency = (text: string): void => world.write(`${host}/app/dep.mjs`, `export default '${text}'`)
    const gate = gateOf(host)
    dependency('old')
    world.write(
      `${host}/app/index.mjs`,
      `import dep from './dep.mjs'
       globalThis.begun = (globalThis.begun ?? 0) + 1
       await globalThis.gates.get('${host}')
       export default (req, res) => res.end(dep)`,
    )
    gate.open()
    assert.equal(await world.body(host), 'old')
    gate.shut()
    const first = world.vhosts.reload(host)
    await eventually(() => (globalThis as { begun?: number }).begun === 2)
    dependency('new')
    const second = world.vhosts.reload(host)
    await delay(20)
    gate.open()
    await Promise.all([first, second])
    assert.equal(await world.body(host), 'new')
  })
})

describe('in flight across a swap', () => {
  it('a stream goes on where it began, and a new one begins on the new generation', async () => {
    await using world = await World.start()
    const host = 'stream.test'
    await swap(world, host, '1')
    const before = await open(world, host)
    await swap(world, host, '2')
    const after = await open(world, host)
    notesOf(host).end.get('1')?.()
    assert.equal(await before.body, 'begun on 1, ended on 1')
    await eventually(() => assert.deepEqual(notesOf(host).closed, ['1']))
    notesOf(host).end.get('2')?.()
    assert.equal(await after.body, 'begun on 2, ended on 2')
  })

  it('a stream is cut when drainTimeout ends, and nobody else on that vhost is', async () => {
    await using world = await World.start({ drainTimeout: 100 })
    const host = 'cut.test'
    await swap(world, host, '1')
    const before = await open(world, host)
    await swap(world, host, '2')
    const after = await open(world, host)
    assert.equal(await before.body, 'begun on 1, ')
    await eventually(() => assert.deepEqual(notesOf(host).closed, ['1']))
    notesOf(host).end.get('2')?.()
    assert.equal(await after.body, 'begun on 2, ended on 2')
  })

  it('an import of CommonJS ends where it began, however late', async () => {
    await using world = await World.start()
    const host = 'import.test'
    const size = 100
    world.write(
      `${host}/app/index.js`,
      `module.exports = async (req, res) => res.end(String((await import('./0.mjs')).n))`,
    )
    for (let n = 0; n < size; n++) {
      const next = n + 1 < size ? `import './${n + 1}.mjs'` : ''
      world.write(`${host}/app/${n}.mjs`, `import './${n}.cjs'; ${next}; export const n = '${n}'`)
      world.write(`${host}/app/${n}.cjs`, '')
    }
    const cache = createRequire(import.meta.url).cache
    await world.vhosts.load(host)
    const body = world.body(host)
    await eventually(() => Object.keys(cache).some(file => file.endsWith(`${host}/app/0.cjs`)))
    await world.vhosts.reload(host)
    assert.equal(await body, '0')
  })

  it('an upgraded socket stays with its generation, which is disposed when it closes', async () => {
    await using world = await World.start()
    const host = 'socket.test'
    await swap(world, host, '1')
    using before = await new Wire(world).upgraded(host)
    await swap(world, host, '2')
    using after = await new Wire(world).upgraded(host)
    before.socket.write('one')
    after.socket.write('two')
    await before.hears('1 heard one')
    await after.hears('2 heard two')
    assert.deepEqual(notesOf(host).closed, [])
    before.socket.end()
    await eventually(() => assert.deepEqual(notesOf(host).closed, ['1']))
    after.socket.write('three')
    await after.hears('2 heard three')
  })

  it('an upgraded socket is cut when drainTimeout ends', async () => {
    await using world = await World.start({ drainTimeout: 100 })
    const host = 'cut-socket.test'
    await swap(world, host, '1')
    using before = await new Wire(world).upgraded(host)
    await swap(world, host, '2')
    using after = await new Wire(world).upgraded(host)
    await eventually(() => before.isClosed)
    await eventually(() => assert.deepEqual(notesOf(host).closed, ['1']))
    after.socket.write('two')
    await after.hears('2 heard two')
  })

  it('requests on one keep-alive connection are answered in order, each by the generation that it met', async () => {
    await using world = await World.start()
    const host = 'pipelined.test'
    await swap(world, host, '1')
    using wire = new Wire(world)
    wire.ask(host, '/open')
    await wire.hears('begun on 1')
    await swap(world, host, '2')
    wire.ask(host)
    wire.ask(host, '/open')
    await eventually(() => notesOf(host).end.has('2'))
    notesOf(host).end.get('2')?.()
    assert.deepEqual(notesOf(host).closed, [])
    notesOf(host).end.get('1')?.()
    await wire.hears('ended on 2')
    assert.match(
      wire.received,
      /begun on 1,[\s\S]*ended on 1[\s\S]*\r\n\r\n2HTTP[\s\S]*begun on 2,[\s\S]*ended on 2/,
    )
    // The connection stays open, but does not keep the old generation alive.
    await eventually(() => assert.deepEqual(notesOf(host).closed, ['1']))
    assert.equal(wire.isClosed, false)
    assert.equal(world.vhosts.stats().totals.inFlight, 0)
  })
})

describe('close()', () => {
  it('during a drain ends both generations when their requests have ended', async () => {
    await using world = await World.start()
    const host = 'close-drain.test'
    await swap(world, host, '1')
    const before = await open(world, host)
    await swap(world, host, '2')
    const after = await open(world, host)
    const closing = world.vhosts.close()
    assert.equal((await world.get(host)).status, 503)
    notesOf(host).end.get('2')?.()
    notesOf(host).end.get('1')?.()
    await closing
    assert.equal(await before.body, 'begun on 1, ended on 1')
    assert.equal(await after.body, 'begun on 2, ended on 2')
    assert.deepEqual([...notesOf(host).closed].sort(), ['1', '2'])
    assert.deepEqual(
      world
        .events('evict')
        .map(({ reason }) => reason)
        .sort(),
      ['changed', 'closed'],
    )
  })

  it('cuts what still drains by its own drainTimeout, not by that of the router', async () => {
    await using world = await World.start({ drainTimeout: 20_000 })
    const host = 'close-soon.test'
    await swap(world, host, '1')
    const before = await open(world, host)
    await swap(world, host, '2')
    const after = await open(world, host)
    const start = performance.now()
    await world.vhosts.close({ drainTimeout: 50 })
    assert.ok(performance.now() - start < 5000, `${Math.round(performance.now() - start)} ms`)
    assert.deepEqual([await before.body, await after.body], ['begun on 1, ', 'begun on 2, '])
    assert.deepEqual([...notesOf(host).closed].sort(), ['1', '2'])
  })

  it('during a swap disposes both the generation that serves and the one that comes too late', async () => {
    await using world = await World.start()
    const host = 'close-swap.test'
    notesOf(host)
    const gate = gateOf(host)
    gate.open()
    world.write(`${host}/app/index.mjs`, entry(host, '1', true))
    assert.equal(await world.body(host), '1')
    gate.shut()
    world.write(`${host}/app/index.mjs`, entry(host, '2', true))
    const reloading = assert.rejects(world.vhosts.reload(host), { code: 'ERR_VHOST_CLOSED' })
    await eventually(() => notesOf(host).begun.includes('2'))
    const closing = world.vhosts.close()
    gate.open()
    await closing
    await reloading
    assert.equal(notesOf(host).live.size, 0)
    assert.equal(world.events('reload').length, 0)
    assert.deepEqual(world.vhosts.stats().vhosts, [])
  })

  it('during a first load answers 503 and disposes what was loaded', async () => {
    await using world = await World.start()
    const host = 'close-load.test'
    notesOf(host)
    const gate = gateOf(host)
    world.write(`${host}/app/index.mjs`, entry(host, '1', true))
    const answers = Array.from({ length: 5 }, () => world.get(host))
    await eventually(async () => (await world.vhosts.why(host)).state === 'loading')
    const closing = world.vhosts.close()
    gate.open()
    for (const answer of answers) assert.equal((await answer).status, 503)
    await closing
    assert.deepEqual(notesOf(host).closed, ['1'])
    assert.deepEqual(world.events('load'), [])
    assert.deepEqual(world.events('error'), [])
  })

  it('refuses a reload() that has only begun to look', async () => {
    await using world = await World.start()
    const host = 'close-look.test'
    await swap(world, host, '1')
    const reloading = assert.rejects(world.vhosts.reload(host), { code: 'ERR_VHOST_CLOSED' })
    await Promise.all([world.vhosts.close(), reloading])
    assert.equal(notesOf(host).live.size, 0)
  })

  it('does not wait longer than drainTimeout for a load that never ends, and leaves no timer', async () => {
    await using world = await World.start({ loadTimeout: 20_000 })
    const host = 'close-never.test'
    notesOf(host)
    gateOf(host)
    const before = timers()
    world.write(`${host}/app/index.mjs`, entry(host, '1', true))
    const answer = world.get(host).catch(() => {})
    await eventually(async () => (await world.vhosts.why(host)).state === 'loading')
    const start = performance.now()
    await world.vhosts.close({ drainTimeout: 50 })
    assert.ok(performance.now() - start < 5000)
    world.server.closeAllConnections()
    await answer
    await eventually(() => timers() <= before, 2000)
  })

  it('lets nothing be loaded afterwards, by changes on disk or by calls', async () => {
    await using world = await World.start({ updateInterval: 20 })
    const host = 'close-after.test'
    await swap(world, host, '1')
    await world.vhosts.close()
    const told = world.told.length
    deploy(world, host, '2')
    await assert.rejects(world.vhosts.reload(host), { code: 'ERR_VHOST_CLOSED' })
    await assert.rejects(world.vhosts.load(host), { code: 'ERR_VHOST_CLOSED' })
    assert.equal((await world.get(host)).status, 503)
    await delay(100)
    assert.equal(world.told.length, told)
    assert.equal(notesOf(host).live.size, 0)
  })
})

interface Gate {
  open(): void
  shut(): void
}

/** What a host's ES modules wait for while they load; shut at first. */
function gateOf(host: string): Gate {
  let open = (): void => {}
  const shut = (): void => {
    gates.set(
      host,
      new Promise<void>(resolve => {
        open = resolve
      }),
    )
  }
  shut()
  return { open: () => open(), shut }
}
