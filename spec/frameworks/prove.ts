import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import type { Isolation } from '../../lib/index.ts'
import { eventually, World } from '../support/world.ts'
import { moduleOf, SHAPES, type Shape, type System } from './shapes.ts'

const HOST = 'aries.test'

/** Proves the same behaviour of every way to write a web app, in both module systems, with this isolation. */
export function proveAll(isolation: Isolation): void {
  for (const shape of SHAPES) {
    for (const system of shape.systems ?? (['CommonJS', 'ES module'] as const)) {
      describe(`isolation '${isolation}': ${shape.name}, ${system},`, () => prove(shape, system, isolation))
    }
  }
}

function prove(shape: Shape, system: System, isolation: Isolation): void {
  const file = `${HOST}/app/index.${system === 'CommonJS' ? 'cjs' : 'mjs'}`
  let world: World
  const clients: WebSocket[] = []
  const notes = (): string => world.path('ended')
  /** The names of apps that were told of their end. */
  const ended = (): string[] => readFileSync(notes(), 'utf8').split('\n').slice(0, -1)

  before(async () => {
    world = await World.start({ isolation, exportName: shape.exportName })
    writeFileSync(notes(), '')
    world.link(`${HOST}/node_modules`, resolve('node_modules'))
    world.write(file, moduleOf(shape, system, 'one', notes()))
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
    world.write(file, moduleOf(shape, system, 'two', notes()))
    await world.vhosts.reload(HOST)
    assert.equal(await world.body(HOST), 'two')
    clients.push(await connected(world))
    assert.deepEqual(await Promise.all(clients.map(asked)), ['one hello', 'two hello'])
    assert.deepEqual(ended(), [])
  })

  it('is told of its end, when its last WebSocket has closed', async () => {
    clients[0]?.close()
    await eventually(() => assert.deepEqual(ended(), ['one']))
    assert.equal(await asked(clients[1]), 'two hello')
  })

  it('has its WebSockets closed with 1012 at the deadline', async () => {
    const closed = once(clients[1] as WebSocket, 'close')
    await world.vhosts.close({ drainTimeout: 0 })
    assert.equal((await closed)[0], 1012)
    assert.deepEqual(ended(), ['one', 'two'])
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
