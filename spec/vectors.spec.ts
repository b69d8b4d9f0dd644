import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { VhostError } from '../lib/index.ts'
import { FsCalls, PatchedFs } from './support/patched-fs.ts'
import { World } from './support/world.ts'

interface Row {
  id: string
  group: string
  transport: string
  raw: string
  expect: 'valid' | 'refuse' | 'not found'
  expectWin32?: 'refuse'
  name?: string
  status?: number
  why: string
  layer?: 'node' | 'middleware'
  setup?: { trustProxy?: boolean }
}

// Left out are the groups 'static path', which is in document-root.spec; 'upgrade', in upgrade.spec; 'tls' and 'http2',
// which are not requests of this server; and fs-exit, as nothing within one process can stop `process.exit()`.
const GROUPS = [
  'normalise',
  'traversal',
  'charset',
  'length',
  'port',
  'ip',
  'prototype',
  'reserved names',
  'shape',
  'absolute-form',
  'trust proxy',
  'control plane',
]
const { vectors } = JSON.parse(readFileSync('spec/vectors/hosts.json', 'utf8')) as { vectors: Row[] }
const rows = vectors.filter(({ group, transport }) => transport === 'h1' && GROUPS.includes(group))

describe('vectors, through the whole router over a raw socket', () => {
  for (const trustProxy of [false, true]) {
    describe(trustProxy ? 'if the proxy is trusted' : 'if no proxy is trusted', () => {
      let world: World
      const asked: string[] = []
      const chosen = rows.filter(({ setup }) => (setup?.trustProxy ?? false) === trustProxy)

      before(async () => {
        world = await World.start(
          {
            trustProxy,
            // No comparison with the disk may come between the calls that a request makes.
            watch: false,
            updateInterval: 2 ** 31 - 1,
            getVhostPath: hostname => {
              asked.push(hostname)
              return hostname
            },
          },
          (app, vhosts) => app.use(vhosts.static(), vhosts),
        )
        const decoys = ['evil.example', 'internal', 'a.example', 'c.example', 'etc', 'x', 'localhost']
        for (const name of [...chosen.map(row => row.name ?? ''), ...decoys]) {
          if (name) world.site(name, `this is ${name}`)
        }
        world.site('node_modules', 'this is node_modules')
      })
      after(async () => await world[Symbol.asyncDispose]())

      for (const row of chosen) {
        const expect = (process.platform === 'win32' && row.expectWin32) || row.expect
        it(`${row.id}: ${expect}${row.layer === 'node' ? ", by Node's own parser" : ''} (${row.why})`, async () => {
          asked.length = 0
          world.errors.length = 0
          using calls = new FsCalls()
          const answer = await world.raw(row.raw)
          if (expect === 'valid') {
            assert.match(answer, /^HTTP\/1\.1 200 /)
            assert.equal(bodyOf(answer), `this is ${row.name}`)
          } else if (expect === 'not found') {
            assert.match(answer, /^HTTP\/1\.1 404 /)
            assert.equal(bodyOf(answer), 'nobody serves this')
            assert.equal(world.errors.length, 0)
          } else {
            assert.match(answer, new RegExp(`^HTTP/1\\.1 ${row.status ?? 400} `))
            assert.deepEqual(calls.paths, [], 'the file system was not asked')
            assert.deepEqual(asked, [], 'the naming scheme was not asked')
            const codes = world.errors.map(error => (error as VhostError).code)
            assert.deepEqual(codes, row.layer === 'node' ? [] : ['ERR_VHOST_HOST'])
          }
        })
      }
    })
  }

  it('have rows of every group, and of no other group of this server', () => {
    assert.deepEqual([...new Set(rows.map(({ group }) => group))].sort(), [...GROUPS].sort())
    const elsewhere = ['static path', 'upgrade', 'tls', 'http2', 'file system', 'load shape']
    assert.deepEqual(new Set(vectors.map(({ group }) => group)), new Set([...GROUPS, ...elsewhere]))
  })
})

describe("vectors of the group 'file system'", () => {
  const setups: Record<string, (world: World) => unknown> = {
    'fs-absent': () => {},
    'fs-empty-dir': world => mkdirSync(world.path('fs.example')),
    'fs-loop': world => world.link('fs.example', 'fs.example'),
    'fs-link-out': world => {
      world.site('../outside/app', 'this is fs.example')
      world.link('fs.example', join('..', 'outside', 'app'))
    },
    'fs-eacces': world => {
      world.site('fs.example', 'this is fs.example')
      chmodSync(world.path('fs.example'), 0)
    },
    'fs-slow': world => {
      world.write('fs.example/app/index.js', 'module.exports = new Promise(() => {})')
      world.site('aries.test', 'aries')
    },
    'fs-case': world => world.site('FS.Example', 'this is another spelling'),
    'fs-nfc': world => world.site('fs.example\u0301'.normalize('NFD'), 'this is another spelling'),
  }

  it('are all here except fs-exit', () => {
    const ids = vectors.filter(({ group }) => group === 'file system').map(({ id }) => id)
    assert.deepEqual(ids.filter(id => id !== 'fs-exit').sort(), Object.keys(setups).sort())
  })

  for (const [id, setUp] of Object.entries(setups)) {
    const row = vectors.find(vector => vector.id === id) as Row
    const skip =
      (id === 'fs-eacces' && process.getuid?.() === 0 && 'root may enter any folder') ||
      (id === 'fs-case' && process.platform !== 'linux' && 'the volume may not tell the spellings apart')
    it(`${id}: ${row.expect} (${row.why})`, { skip }, async () => {
      await using world = await World.start({ loadTimeout: 200 })
      await setUp(world)
      try {
        const begun = world.raw(row.raw)
        if (id === 'fs-slow') assert.equal(await world.body('aries.test'), 'aries', 'others are unaffected')
        const answer = await begun
        if (row.expect === 'valid') assert.equal(bodyOf(answer), `this is ${row.name}`)
        else assert.match(answer, new RegExp(`^HTTP/1\\.1 ${row.status} `))
        if (row.status === 404) assert.match(bodyOf(answer), /^nobody serves/)
      } finally {
        if (id === 'fs-eacces') chmodSync(world.path('fs.example'), 0o755)
      }
    })
  }

  it('fs-eacces, for root too: a folder that may not be entered is no vhost, and is reported once', async () => {
    await using world = await World.start()
    world.site('fs.example', 'this is fs.example')
    using _ = new PatchedFs((name, original) =>
      name !== 'stat'
        ? undefined
        : (path, options, done) => {
            if (!String(path).startsWith(`${world.path('fs.example')}/`)) return original(path, options, done)
            const error = new Error(`EACCES: permission denied, stat '${path}'`)
            done(Object.assign(error, { code: 'EACCES', syscall: 'stat', path }))
          },
    )
    for (let i = 0; i < 3; i++) assert.equal((await world.get('fs.example')).status, 404)
    assert.equal(world.events('error').length, 1)
    const { status, error } = await world.vhosts.why('fs.example')
    assert.equal(status, 404)
    assert.match(error?.cause ?? '', /EACCES/)
  })
})

describe("vectors of the group 'load shape'", () => {
  it('ld-unknown-flood: not found, and nothing is remembered or reported', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    await pipelined(world, 10_000, i => `unknown-${i}.example`, /HTTP\/1\.1 404 /g)
    const { totals } = world.vhosts.stats()
    assert.equal(totals.hostnames, 1)
    assert.equal(totals.failed, 0)
    assert.equal(totals.apps, 1)
    assert.deepEqual(
      world.told.map(({ event }) => event),
      ['load'],
    )
    assert.equal(await world.body('aries.test'), 'aries')
  })

  it('ld-port-flood: one instance for every port', async () => {
    await using world = await World.start()
    world.site('example.com', 'this is example.com')
    // Every 14th port, as 65,535 requests would take long; the first and the last are included.
    await pipelined(world, 4682, i => `example.com:${1 + 14 * i}`, /this is example\.com/g)
    assert.equal(world.events('load').length, 1)
    assert.equal(world.vhosts.stats().totals.hostnames, 1)
    assert.equal(world.vhosts.stats().totals.requests, 4682)
  })
})

/** Sends this many requests on a few connections, and counts the answers. */
async function pipelined(
  world: World,
  count: number,
  hostOf: (i: number) => string,
  expected: RegExp,
): Promise<void> {
  const atOnce = 500
  let answers = 0
  for (let start = 0; start < count; start += atOnce) {
    const requests = Array.from(
      { length: Math.min(atOnce, count - start) },
      (_, i, last = i === atOnce - 1) => {
        const isLast = last || start + i === count - 1
        return `GET / HTTP/1.1\r\nHost: ${hostOf(start + i)}\r\n${isLast ? 'Connection: close\r\n' : ''}\r\n`
      },
    )
    answers += (await world.raw(requests.join(''))).match(expected)?.length ?? 0
  }
  assert.equal(answers, count)
}

function bodyOf(answer: string): string {
  return answer.slice(answer.indexOf('\r\n\r\n') + 4)
}
