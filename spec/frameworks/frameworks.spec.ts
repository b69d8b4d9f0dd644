import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { eventually, World } from '../support/world.ts'
import { type Line, moduleOf, SHAPES, type Shape, type System } from './shapes.ts'

const HOST = 'aries.test'
const globals = globalThis as unknown as { ended: string[] }

describe('README has a line', () => {
  const [, table = ''] =
    /## What an app may export\n+(.*?)\n\n/s.exec(readFileSync('README.md', 'utf8')) ?? []
  const rows = table.split('\n').map(row => row.split(' | ').map(cell => cell.replace(/^\| /, '')))
  for (const line of new Set(SHAPES.map(shape => shape.line))) {
    it(`for ${line}, which tells what was proved`, () => tellsWhatWasProved(line, rows))
  }
})

function tellsWhatWasProved(line: Line, rows: string[][]): void {
  const [, , unknown, error, webSockets] =
    rows.find(([what]) => what?.startsWith(line)) ?? assert.fail('absent')
  for (const shape of SHAPES.filter(shape => shape.line === line)) {
    // What a function or a fetch() of a framework answers itself is that framework's own.
    if (shape.unknown === 'outer') assert.equal(unknown, '`next()`', shape.name)
    if (shape.unknown === 'own') assert.match(unknown ?? '', /^its own 404$|next/, shape.name)
    if (shape.error === 'outer') assert.match(error ?? '', /`next\(error\)`$/, shape.name)
    if (shape.server === undefined) assert.equal(webSockets, 'exported `upgrade`', shape.name)
    else assert.match(webSockets ?? '', /^its own$|erver/, shape.name)
  }
}

for (const shape of SHAPES) {
  for (const system of shape.systems ?? (['CommonJS', 'ES module'] as const)) {
    describe(`${shape.name}, ${system},`, () => prove(shape, system))
  }
}

function prove(shape: Shape, system: System): void {
  const file = `${HOST}/app/index.${system === 'CommonJS' ? 'cjs' : 'mjs'}`
  let world: World
  const clients: WebSocket[] = []

  before(async () => {
    globals.ended = []
    world = await World.start(shape.exportName === undefined ? {} : { exportName: shape.exportName })
    world.link(`${HOST}/node_modules`, resolve('node_modules'))
    world.write(file, moduleOf(shape, system, 'one'))
  })

  after(async () => {
    for (const client of clients) client.terminate()
    await world[Symbol.asyncDispose]()
  })

  it('is served', async () => {
    const { status, body } = await world.get(HOST)
    assert.deepEqual([status, body], [200, 'one'], String(world.errors[0]))
    assert.deepEqual(world.events('error'), [])
  })

  it(shape.unknown === 'own' ? 'answers what it does not know' : 'falls through', async () => {
    const { status, body } = await world.get(HOST, '/unknown')
    assert.equal(status, 404)
    assert.equal(body === `nobody serves ${HOST}` ? 'outer' : 'own', shape.unknown, body)
  })

  it(shape.error === 'own' ? 'answers for its errors' : 'passes its errors on', async () => {
    const { status, body } = await world.get(HOST, '/boom')
    assert.equal(status, 500)
    assert.equal(body === 'outer error' ? 'outer' : 'own', shape.error, body)
    assert.deepEqual(
      world.errors.map(error => (error as Error).message),
      shape.error === 'own' ? [] : ['boom'],
    )
  })

  it('takes a WebSocket, which is counted in flight', async () => {
    clients.push(await connected(world))
    assert.equal(await asked(clients[0]), 'one hello')
    assert.equal(world.vhosts.stats().totals.inFlight, 1)
  })

  it('is replaced at a reload; a WebSocket stays', async () => {
    world.write(file, moduleOf(shape, system, 'two'))
    await world.vhosts.reload(HOST)
    assert.equal(await world.body(HOST), 'two')
    clients.push(await connected(world))
    assert.deepEqual(await Promise.all(clients.map(asked)), ['one hello', 'two hello'])
    assert.deepEqual(globals.ended, [])
  })

  it('is told of its end, when its last WebSocket has closed', async () => {
    clients[0]?.close()
    await eventually(() => assert.deepEqual(globals.ended, ['one']))
    assert.equal(await asked(clients[1]), 'two hello')
  })

  it('has its WebSockets closed with 1012 at the deadline', async () => {
    const closed = once(clients[1] as WebSocket, 'close')
    await world.vhosts.close({ drainTimeout: 0 })
    assert.equal((await closed)[0], 1012)
    assert.deepEqual(globals.ended, ['one', 'two'])
  })
}

async function connected(world: World): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${world.port}/`, { headers: { host: HOST } })
  await once(client, 'open')
  return client
}

async function asked(client: WebSocket | undefined): Promise<string> {
  assert.ok(client)
  const answered = once(client, 'message')
  client.send('hello')
  return String((await answered)[0])
}
