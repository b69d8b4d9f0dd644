import assert from 'node:assert/strict'
import { realpathSync, utimesSync } from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { basename } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { VhostError } from '../../lib/index.ts'
import { eventually, World } from '../support/world.ts'
import { Random } from './random.ts'

// More sites than there is room for: deployed, reloaded, evicted and closed while clients often misbehave.

const NAMES = ['a', 'b', 'c', 'd', 'e']
const MILLISECONDS = 4000
const CLIENTS = 8

describe('more sites than there is room for', { concurrency: 1 }, () => {
  for (const maxApps of [1, 2, 3]) {
    for (const watch of [true, false]) {
      it(`with room for ${maxApps}, ${watch ? 'with events' : 'by looking'}: each answer is right, and everything ends`, {
        timeout: 60_000,
      }, async () => {
        await using world = await World.start({
          vhostDir: ['%0/current', '%0', '.any.%2+'],
          maxApps,
          watch,
          updateInterval: 100,
          drainTimeout: 500,
          idleTimeout: 150,
          maxConcurrentLoads: 2,
        })
        await new Crowd(world, `${maxApps} ${watch}`).run(maxApps)
      })
    }
  }
})

class Crowd {
  readonly #world: World
  readonly #random: Random
  /** What was wrong, one line each. */
  readonly #wrong: string[] = []
  #answers = 0
  #releases = 0
  #isOver = false

  constructor(world: World, seed: string) {
    this.#world = world
    this.#random = new Random(seed)
    // The apps themselves add to it.
    Object.assign(globalThis, { wrongInCrowd: this.#wrong })
  }

  async run(maxApps: number): Promise<void> {
    for (const name of NAMES) {
      this.#flip(name)
      this.#world.link(`www.${name}.test`, `${name}.test`)
    }
    const clients = Array.from({ length: CLIENTS }, () => this.#ask())
    const deployers = NAMES.map(name => this.#deploy(name))
    await delay(MILLISECONDS)
    this.#isOver = true
    await Promise.all([...clients, ...deployers])

    const { vhosts } = this.#world
    await eventually(() => {
      const { inFlight, draining, apps } = vhosts.stats().totals
      assert.deepEqual([inFlight, draining], [0, 0])
      assert.ok(apps <= maxApps, `${apps} apps`)
    })
    // No app occupies a place for ever, and each name leads to what is there.
    for (let round = 0; round < 2; round++) {
      for (const name of NAMES) {
        const release = basename(realpathSync(this.#world.path(`${name}.test`)))
        await eventually(async () =>
          assert.equal(await this.#world.body(`${name}.test`), `${name} ${release}`),
        )
      }
    }
    assert.deepEqual(this.#wrong, [])
    assert.ok(this.#answers > 10, `${this.#answers} answers`)
    const errors = this.#world
      .events('error')
      .filter(({ error }) => !/more than 5 reloads/.test(error.message))
    assert.deepEqual(errors, [])
    await vhosts.close()
    assert.deepEqual([vhosts.stats().vhosts, (await this.#world.get('a.test')).status], [[], 503])
  }

  #flip(name: string): void {
    const release = `../releases/${name}/${this.#releases++}`
    const [file, begin, also] = this.#random.chance(0.2)
      ? ['index.mjs', 'export default', 'export const ']
      : ['index.js', 'module.exports =', 'module.exports.']
    this.#world.write(
      `${release}/app/${file}`,
      `let isClosed = false
       const told = '${name} ${basename(release)}'
       ${begin} (req, res) => {
         if (isClosed) globalThis.wrongInCrowd.push(told + ' was closed and is asked ' + req.url)
         req.resume().on('end', () => setTimeout(() => res.end(told), Number(req.url.split('?')[1] ?? 0)))
       }
       ${also}upgrade = (req, socket) => {
         if (isClosed) globalThis.wrongInCrowd.push(told + ' was closed and is upgraded')
         socket.on('end', () => socket.end()).resume()
         socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
       }
       ${also}close = () => { isClosed = true }`,
    )
    this.#world.link(`${name}.test`, release)
  }

  async #deploy(name: string): Promise<void> {
    const { vhosts } = this.#world
    const host = `${name}.test`
    const touch = (): void =>
      utimesSync(`${this.#world.path(host)}/app`, new Date(), new Date(this.#random.next() * 4e12))
    const motions: (() => unknown)[] = [
      () => this.#flip(name),
      () => this.#flip(name),
      touch,
      () => vhosts.reload(host),
      () => vhosts.load(`www.${host}`),
      () => Promise.all([vhosts.reload(host), vhosts.reload(`www.${host}`)]),
      () => {
        const before = realpathSync(this.#world.path(host))
        this.#flip(name)
        this.#world.link(host, before)
      },
    ]
    while (!this.#isOver) {
      try {
        await this.#random.pick(motions)()
      } catch (error) {
        const { code } = error as VhostError
        if (code !== 'ERR_VHOST_OVERLOADED') this.#wrong.push(`${host}: ${code}: ${error}`)
      }
      await delay(this.#random.between(0, 60))
    }
  }

  async #ask(): Promise<void> {
    const ways = [
      () => this.#get('/'),
      () => this.#get('/'),
      () => this.#get(`/slow?${this.#random.between(0, 300)}`),
      () => this.#leave('GET', '/slow?500'),
      () => this.#leave('POST', '/'),
      () => this.#raw('GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
      () =>
        this.#raw(
          'GET / HTTP/1.1\r\nHost: HOST\r\n\r\nGET /?5 HTTP/1.1\r\nHost: HOST\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n',
        ),
    ]
    while (!this.#isOver) {
      await this.#random.pick(ways)()
      await delay(this.#random.between(0, 10))
    }
  }

  #host(): string {
    const name = this.#random.pick(NAMES)
    return this.#random.chance(0.3) ? `www.${name}.test` : `${name}.test`
  }

  /** Expects either the site's own answer, or 503 with Retry-After. */
  async #get(path: string): Promise<void> {
    const host = this.#host()
    const { status, headers, body } = await this.#world.get(host, path)
    this.#answers++
    const isOwn = status === 200 && body.startsWith(`${host.replace('www.', '')[0]} `)
    const isRefused = status === 503 && headers['retry-after'] !== undefined
    if (!isOwn && !isRefused) this.#wrong.push(`${host}${path}: ${status} ${body}`)
  }

  /** Leaves before there is an answer, or in the middle of an upload. */
  async #leave(method: string, path: string): Promise<void> {
    const request = http.request({
      port: this.#world.port,
      method,
      path,
      agent: false,
      headers: { host: this.#host() },
    })
    request.on('error', () => {}).on('response', response => response.resume().on('error', () => {}))
    if (method === 'POST') request.write(Buffer.alloc(20_000))
    else request.end()
    await delay(this.#random.between(0, 40))
    request.destroy()
  }

  async #raw(bytes: string): Promise<void> {
    const socket = connect(this.#world.port, '127.0.0.1')
      .on('error', () => {})
      .resume()
    socket.write(bytes.replaceAll('HOST', () => this.#host()))
    await delay(this.#random.between(0, 60))
    socket.destroy()
  }
}
