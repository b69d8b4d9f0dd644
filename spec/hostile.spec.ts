import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { resolve, sep } from 'node:path'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import type { VhostError, VhostInfo, VhostRouter, VhostRouterOptions } from '../lib/index.ts'
import { vhostRouter } from '../lib/index.ts'
import { FsCalls } from './support/patched-fs.ts'
import { heapInUse, inotifyWatches } from './support/process-state.ts'
import { eventually, World } from './support/world.ts'

const LABEL = '(?!-)[a-z0-9_-]{1,63}(?<!-)'
const NAME = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`)

/** How many unknown names a stranger sends. The heap is as flat after a million, which take half a minute. */
const STRANGE_NAMES = Number(process.env.SPEC_STRANGE_NAMES ?? 200_000)

describe('a hostile request', () => {
  describe('with any bytes as Host, target and forwarded headers', () => {
    it('is refused before the router looks at the disk, or asks for a name that is a plain folder name', async () => {
      const asked: string[] = []
      const router = vhostRouter({ getVhostPath: noteIn(asked), trustProxy: true })
      using calls = new FsCalls()
      const outcomes = { refused: 0, asked: 0, 'no host': 0 }
      await fc.assert(
        fc.asyncProperty(requests(), async request => {
          asked.length = 0
          const { error, vhost } = await route(router, request)
          if (error) {
            assert.deepEqual([error.code, error.status], ['ERR_VHOST_HOST', 400])
            assert.equal(error.message.includes(sep), false, error.message)
            assert.deepEqual(asked, [])
            outcomes.refused++
          } else if (asked.length > 0) {
            assert.equal(asked.length, 1)
            assert.match(asked[0] as string, NAME)
            assert.notEqual(asked[0], 'node_modules')
            outcomes.asked++
          } else {
            outcomes['no host']++
          }
          assert.equal(vhost, undefined)
        }),
        { numRuns: 20_000 },
      )
      assert.deepEqual(calls.paths, [])
      for (const [outcome, count] of Object.entries(outcomes)) assert.ok(count > 100, `${outcome}: ${count}`)
    })

    const schemes: VhostRouterOptions['vhostDir'][] = [
      '%0',
      ['%0/current', '%0', '.any.%2+', '.default'],
      '%-2/%-1/%-3+',
      '%1.1/%1.2/%0',
      '%0.3+/%-1.-1/%2',
      'sites/%0.0.site',
    ]
    for (const vhostDir of schemes) {
      it(`touches nothing outside basePath, by the pattern ${JSON.stringify(vhostDir)}`, async () => {
        await using world = new World({ vhostDir, trustProxy: true })
        const below = world.path() + sep
        // The router looks for the base path once, before this.
        await nextTurn()
        using calls = new FsCalls()
        let touched = 0
        await fc.assert(
          fc.asyncProperty(requests(), async request => {
            calls.paths.length = 0
            const { error, vhost } = await route(world.vhosts, request)
            assert.equal(vhost, undefined)
            if (error) {
              assert.equal(error.status, 400)
              assert.deepEqual(calls.paths, [])
              return
            }
            touched += calls.paths.length
            for (const path of calls.paths) {
              assert.ok(resolve(path).startsWith(below), path)
              assert.doesNotMatch(path.slice(below.length), /(^|\/)(\.\.?|node_modules)(\/|$)/)
            }
          }),
          { numRuns: 3000 },
        )
        assert.ok(touched > 100, `${touched} paths`)
        assert.deepEqual(world.told, [])
      })
    }

    it('is answered by its own site or by none, over a real socket', async () => {
      const settings = { trustProxy: true, watch: false, updateInterval: 60_000 }
      await using world = await World.start(settings, (app, vhosts) => app.use(vhosts.static()).use(vhosts))
      const sites = ['aries.test', 'constructor', '127.0.0.1']
      for (const host of sites) {
        world.write(
          `${host}/app/index.js`,
          'module.exports = (req, res) => res.end("site " + req.vhost.hostname)',
        )
        world.write(`${host}/static/a.txt`, `site ${host}`)
        world.write(`${host}/.env`, 'secret')
        await world.body(host)
      }
      const below = world.path() + sep
      using calls = new FsCalls()
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(fc.constantFrom(...sites), hosts()),
          targets(),
          fc.option(hosts()),
          async (host, target, forwarded) => {
            calls.paths.length = 0
            const answer = await world.raw(
              `GET ${oneLine(target)} HTTP/1.1\r\nHost: ${oneLine(host)}\r\n` +
                (forwarded === null ? '' : `X-Forwarded-Host: ${oneLine(forwarded)}\r\n`) +
                'Connection: close\r\n\r\n',
            )
            assert.match(answer, /^HTTP\/1\.1 (200|301|400|404) /)
            assert.doesNotMatch(answer, /secret/)
            assert.ok(!answer.includes(world.base), answer)
            // Paths below /proc/self/fd serve to compare an opened document with the one that was checked.
            const paths = calls.paths.filter(path => !path.startsWith('/proc/self/fd/'))
            for (const path of paths) assert.ok(`${resolve(path)}${sep}`.startsWith(below), path)
            const site = /\r\n\r\nsite (.*)$/.exec(answer)?.[1]
            const asked = [host, target, forwarded ?? ''].join(' ').toLowerCase()
            if (site) assert.ok(asked.includes(site), `${site} answered ${asked}`)
          },
        ),
        { numRuns: 1000, examples: [['aries.test', '/a.txt', null]] },
      )
      assert.deepEqual(world.events('error'), [])
    })
  })

  describe('with another spelling of a name', () => {
    it('reaches the one app of the site, known by one name', async () => {
      await using world = new World()
      world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.end(req.vhost.hostname)')
      await fc.assert(
        fc.asyncProperty(spellings('aries.test'), fc.boolean(), async (spelling, isAbsolute) => {
          const target = isAbsolute ? `http://${spelling}/` : '/'
          const { body, vhost } = await route(world.vhosts, { lines: [['Host', spelling]], target })
          assert.equal(body, 'aries.test', spelling)
          assert.equal(vhost?.host, spelling)
        }),
        { numRuns: 2000 },
      )
      assertOneSite(world)
    })

    it('reaches it from each of 65,536 ports', async () => {
      await using world = new World()
      world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.end(req.vhost.hostname)')
      await world.vhosts.load('aries.test')
      const before = await heapInUse()
      for (let port = 0; port <= 65_535; port++) {
        const { body } = await route(world.vhosts, { lines: [['host', `aries.test:${port}`]], target: '/' })
        if (body !== 'aries.test') assert.fail(`port ${port}: ${body}`)
      }
      assert.ok((await heapInUse()) - before < 2)
      assert.equal((await route(world.vhosts, { lines: [['Host', 'aries.test:65536']] })).error?.status, 400)
      assertOneSite(world)
    })

    function assertOneSite(world: World): void {
      assert.equal(world.events('load').length, 1)
      const { vhosts, totals } = world.vhosts.stats()
      assert.deepEqual(
        vhosts.map(({ hostnames }) => hostnames),
        [['aries.test']],
      )
      assert.deepEqual([totals.apps, totals.hostnames, totals.inFlight], [1, 1, 0])
    }
  })

  it('for a name that every object has looks for a folder like any other', async () => {
    await using world = await World.start()
    const names = ['__proto__', 'constructor', 'prototype', 'tostring', 'hasownproperty', 'valueof']
    for (const name of [...names, 'toString', 'hasOwnProperty', '__defineGetter__']) {
      assert.equal((await world.get(name)).status, 404, name)
    }
    for (const name of names) world.site(name, `site ${name}`)
    for (const name of [...names, '__PROTO__', 'Constructor', 'toString']) {
      assert.equal(await world.body(name), `site ${name.toLowerCase()}`)
    }
    assert.deepEqual(
      world.vhosts
        .stats()
        .vhosts.flatMap(({ hostnames }) => hostnames)
        .sort(),
      names.sort(),
    )
    assert.equal((await world.get('aries.test', '/', { headers: { ['__proto__']: 'x' } })).status, 404)
    assert.equal(({} as { hostname?: unknown }).hostname, undefined)
  })

  it(`leaves nothing behind: ${STRANGE_NAMES} unknown names, one after another`, async t => {
    await using world = new World()
    world.site('aries.test', 'aries')
    // Nobody listens, so events would be written to stderr.
    const router = vhostRouter({ basePath: world.path() })
    await router.load('aries.test')
    const written = t.mock.method(process.stderr, 'write')
    await strangers(router, 2000)
    await eventually(() => inotifyWatches() > 0 || process.platform !== 'linux')
    const watches = inotifyWatches()
    const before = await heapInUse()
    const start = performance.now()
    await strangers(router, STRANGE_NAMES)
    const seconds = (performance.now() - start) / 1000
    const growth = (await heapInUse()) - before
    t.diagnostic(`${STRANGE_NAMES} names in ${seconds.toFixed(1)} s, heap ${growth.toFixed(2)} MB`)
    assert.ok(growth < 2, `${growth} MB`)
    assert.equal(inotifyWatches(), watches)
    assert.deepEqual(
      router.stats().vhosts.map(({ hostnames }) => hostnames),
      [['aries.test']],
    )
    assert.equal(router.stats().totals.hostnames, 1)
    assert.equal(written.mock.callCount(), 0)
    await router.close()
  })

  describe('over a raw socket', () => {
    const aries = 'Host: aries.test\r\n'
    const virgo = 'GET /smuggled HTTP/1.1\r\nHost: virgo.test\r\nConnection: close\r\n\r\n'
    const close = 'Connection: close\r\n'

    /** Each holds a request for virgo.test that a front server may have overlooked. */
    const smuggled: [shape: string, bytes: string][] = [
      [
        'Content-Length and Transfer-Encoding',
        `POST / HTTP/1.1\r\n${aries}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${virgo}`,
      ],
      [
        'Transfer-Encoding and Content-Length',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${virgo}`,
      ],
      [
        'two values of Content-Length',
        `POST / HTTP/1.1\r\n${aries}Content-Length: 0\r\nContent-Length: ${virgo.length}\r\n\r\n${virgo}`,
      ],
      [
        'a list in Content-Length',
        `POST / HTTP/1.1\r\n${aries}Content-Length: 0, ${virgo.length}\r\n\r\n${virgo}`,
      ],
      ['a signed Content-Length', `POST / HTTP/1.1\r\n${aries}Content-Length: +0\r\n\r\n${virgo}`],
      [
        'an unknown coding',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${virgo}`,
      ],
      [
        'chunked that is not the last coding',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${virgo}`,
      ],
      [
        'a folded Transfer-Encoding',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${virgo}`,
      ],
      [
        'a blank before the colon',
        `POST / HTTP/1.1\r\n${aries}Content-Length : ${virgo.length}\r\n\r\n${virgo}`,
      ],
      ['a bare CR in a line', `GET / HTTP/1.1\r\n${aries}X: a\rHost: virgo.test\r\n${close}\r\n${virgo}`],
      [
        'a chunk of a size too large',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n${virgo}`,
      ],
      [
        'a line feed in a chunk extension',
        `POST / HTTP/1.1\r\n${aries}Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n${virgo}`,
      ],
      [
        'a body that looks like a request',
        `GET / HTTP/1.1\r\n${aries}${close}Content-Length: ${virgo.length}\r\n\r\n${virgo}`,
      ],
      [
        'a body beside an offer of h2c',
        `GET / HTTP/1.1\r\n${aries}Connection: upgrade, close\r\nUpgrade: h2c\r\nContent-Length: ${virgo.length}\r\n\r\n${virgo}`,
      ],
      ['two Hosts', `GET / HTTP/1.1\r\n${aries}Host: virgo.test\r\n${close}\r\n`],
      ['two Hosts, the second spelt otherwise', `GET / HTTP/1.1\r\n${aries}hOST: virgo.test\r\n${close}\r\n`],
      ['a Host that is folded', `GET / HTTP/1.1\r\nHost: aries.test\r\n virgo.test\r\n${close}\r\n`],
      ['a Host after a fold', `GET / HTTP/1.1\r\nX: a\r\n Host: virgo.test\r\n${aries}${close}\r\n`],
      ['a list in Host', `GET / HTTP/1.1\r\nHost: aries.test, virgo.test\r\n${close}\r\n`],
      ['a user name in Host', `GET / HTTP/1.1\r\nHost: aries.test@virgo.test\r\n${close}\r\n`],
      ['a NUL in Host', `GET / HTTP/1.1\r\nHost: aries.test\0virgo.test\r\n${close}\r\n`],
      ['a path in Host', `GET / HTTP/1.1\r\nHost: aries.test/../virgo.test\r\n${close}\r\n`],
      ['another host in the target', `GET http://virgo.test/ HTTP/1.1\r\n${aries}${close}\r\n`],
      [
        'another port in the target',
        `GET http://virgo.test:81/ HTTP/1.1\r\nHost: virgo.test\r\n${close}\r\n`,
      ],
      [
        'a user name in the target',
        `GET http://aries.test@virgo.test/ HTTP/1.1\r\nHost: virgo.test\r\n${close}\r\n`,
      ],
      ['a target that is an authority', `GET virgo.test:80 HTTP/1.1\r\nHost: virgo.test\r\n${close}\r\n`],
      ['a target of another scheme', `GET ftp://virgo.test/ HTTP/1.1\r\nHost: virgo.test\r\n${close}\r\n`],
      [
        'a forwarded host of a stranger',
        `GET / HTTP/1.1\r\n${aries}X-Forwarded-Host: virgo.test\r\n${close}\r\n`,
      ],
      ['a Forwarded of a stranger', `GET / HTTP/1.1\r\n${aries}Forwarded: host=virgo.test\r\n${close}\r\n`],
      ['HTTP/0.9', `GET /\r\n${virgo}`],
      ['the preface of HTTP/2', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${virgo}`],
    ]
    for (const [shape, bytes] of smuggled) {
      it(`gets nothing to virgo.test by ${shape}`, async () => {
        await using world = await World.start()
        for (const name of ['aries', 'virgo']) {
          world.site(`${name}.test`, `answer of ${name}`)
          await world.vhosts.load(`${name}.test`)
        }
        const answer = await world.raw(bytes)
        const virgoRow = world.vhosts.stats().vhosts.find(({ hostnames }) => hostnames.includes('virgo.test'))
        assert.equal(virgoRow?.requests, 0, answer)
        assert.doesNotMatch(answer, /virgo/)
        assert.match(answer, /^HTTP\/1\.1 (200 OK|400 Bad Request|404 Not Found|505 )/)
        assert.ok((answer.match(/^HTTP\/1\.1 /gm)?.length ?? 0) <= 2, answer)
        assert.equal(world.vhosts.stats().totals.inFlight, 0)
      })
    }

    it('of HTTP/1.0 is routed by its Host, and falls through without one', async () => {
      await using world = await World.start()
      world.site('aries.test', 'aries')
      const named = await world.raw('GET / HTTP/1.0\r\nHost: aries.test\r\n\r\n')
      assert.match(named, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\naries$/)
      assert.match(await world.raw('GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 404 [\s\S]*nobody serves this$/)
      assert.match(await world.raw('GET / HTTP/1.0\r\nHost:\r\n\r\n'), /^HTTP\/1\.1 400 /)
      const absolute = await world.raw('GET http://aries.test/ HTTP/1.0\r\n\r\n')
      assert.match(absolute, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\naries$/)
    })

    it('along with others on one connection is answered by its own site, in order', async () => {
      await using world = await World.start()
      for (const [name, delay] of [
        ['aries', 60],
        ['taurus', 0],
        ['virgo', 20],
      ] as const) {
        world.write(
          `${name}.test/app/index.js`,
          `module.exports = (req, res) =>
             setTimeout(() => res.end('[' + req.vhost.hostname + ' ' + req.url + ']'), ${delay})`,
        )
      }
      const hosts = ['aries', 'taurus', 'nobody', 'virgo', 'a..b', 'taurus', 'aries', 'taurus']
      const bytes = hosts.map((host, index) => {
        const isLast = index === hosts.length - 1
        return `GET /${index} HTTP/1.1\r\nHost: ${host}.test\r\n${isLast ? close : ''}\r\n`
      })
      for (let round = 0; round < 2; round++) {
        const answer = await world.raw(bytes.join(''))
        assert.deepEqual(statuses(answer), [200, 200, 404, 200, 400, 200, 200, 200])
        assert.deepEqual(answer.match(/\[.*?\]/g), [
          '[aries.test /0]',
          '[taurus.test /1]',
          '[virgo.test /3]',
          '[taurus.test /5]',
          '[aries.test /6]',
          '[taurus.test /7]',
        ])
      }
      assert.equal(world.vhosts.stats().totals.inFlight, 0)
    })
  })
})

interface HandMadeRequest {
  readonly lines: readonly (readonly [name: string, value: string])[]
  readonly target?: string
}

interface Routed {
  /** What the site answered. */
  readonly body?: string
  readonly error?: VhostError
  readonly vhost?: VhostInfo | undefined
}

/** A connection, over which every handmade request comes. */
const socket = Object.assign(new EventEmitter(), { remoteAddress: '192.0.2.1' })

/** Calls the middleware without a server, so that hundreds of thousands of requests take seconds. */
function route(router: VhostRouter, { lines, target = '/' }: HandMadeRequest): Promise<Routed> {
  return new Promise(resolve => {
    const req = { rawHeaders: lines.flat(), url: target, method: 'GET', httpVersionMajor: 1, socket }
    const res = new HandMadeResponse(body => resolve({ body, vhost: (req as { vhost?: VhostInfo }).vhost }))
    const next = (error?: unknown): void =>
      resolve({ error: error as VhostError, vhost: (req as { vhost?: VhostInfo }).vhost })
    router(req as unknown as IncomingMessage, res as unknown as ServerResponse, next)
  })
}

class HandMadeResponse {
  readonly #ended: (body: string) => void
  #close: () => void = () => {}

  constructor(ended: (body: string) => void) {
    this.#ended = ended
  }

  on(_: 'close', listener: () => void): void {
    this.#close = listener
  }

  end(body: string): void {
    this.#close()
    this.#ended(body)
  }
}

function noteIn(names: string[]): (hostname: string) => undefined {
  return hostname => {
    names.push(hostname)
    return undefined
  }
}

async function strangers(router: VhostRouter, count: number): Promise<void> {
  let left = count
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (left-- > 0) {
        const name = `${Math.random().toString(36).slice(2)}.${left}.test`
        const { error, vhost } = await route(router, { lines: [['Host', name]] })
        if (error ?? vhost) assert.fail(`${name}: ${error}`)
      }
    }),
  )
}

// What has misled routers: separators, dots, encodings, what Unicode folds to ASCII, names of objects and devices.
const PIECES = [
  ...[
    'a',
    'aries',
    'test',
    'xn--bcher-kva',
    'node_modules',
    '.git',
    '__proto__',
    'A'.repeat(64),
    'b'.repeat(63),
  ],
  ...[
    '.',
    '..',
    '../',
    '..\\',
    '..;',
    '/',
    '\\',
    '//',
    '%2e',
    '%2F',
    '%00',
    '%c0%ae',
    '\0',
    '\u0085',
    '\u00a0',
  ],
  ...[
    '-',
    '_',
    '*',
    '?',
    '#',
    '@',
    ':',
    ':80',
    ':99999',
    ':-1',
    '[',
    ']',
    '[::1]',
    '[::1%25lo]',
    '127.0.0.1',
  ],
  ...['0x7f', '1', ' ', '\t', ',', ';', '"', '$', '~', '{', '\u212a', '\uff0e', '\u3002', '\u0130', '\ud800'],
]

function bytes(): fc.Arbitrary<string> {
  return fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code))
}

function hosts(): fc.Arbitrary<string> {
  const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/)
  return fc.oneof(
    fc.array(label, { minLength: 1, maxLength: 5 }).map(labels => labels.join('.')),
    fc.array(fc.oneof(fc.constantFrom(...PIECES), label), { maxLength: 7 }).map(pieces => pieces.join('')),
    fc.array(bytes(), { maxLength: 40 }).map(codes => codes.join('')),
  )
}

function targets(): fc.Arbitrary<string> {
  const path = fc
    .array(fc.oneof(fc.constantFrom(...PIECES, 'app', 'static', 'a.txt', '.env', 'package.json'), bytes()), {
      maxLength: 8,
    })
    .map(pieces => `/${pieces.join('')}`)
  return fc.oneof(
    { weight: 12, arbitrary: path },
    fc
      .tuple(fc.constantFrom('http://', 'HTTPS://', 'http:', 'ftp://', '//'), hosts(), path)
      .map(parts => parts.join('')),
    fc.constantFrom('*', '', 'aries.test:80', '/'),
    hosts(),
  )
}

function requests(): fc.Arbitrary<HandMadeRequest> {
  const line = fc.tuple(fc.constantFrom('Host', 'hOST', 'X-Forwarded-Host', 'Forwarded', 'X-Host'), hosts())
  const host = fc.tuple(fc.constantFrom('Host', 'host'), hosts())
  const lines = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(host) },
    fc.tuple(host, line),
    fc.tuple(line, host),
    fc.array(line, { maxLength: 4 }),
  )
  return fc.record({ lines, target: targets() })
}

function spellings(name: string): fc.Arbitrary<string> {
  const letters = fc.tuple(...[...name].map(letter => fc.constantFrom(letter, letter.toUpperCase())))
  const port = fc.oneof(
    fc.constantFrom('', ':', ':080', ':00000443'),
    fc.integer({ min: 0, max: 65_535 }).map(number => `:${number}`),
  )
  return fc
    .tuple(letters, fc.constantFrom('', '.'), port)
    .map(([word, dot, after]) => word.join('') + dot + after)
}

/** Removes line ends and characters that are no byte; a target has no blanks. */
function oneLine(text: string): string {
  return text.replace(/[\r\n]|[^\0-\u00ff]/g, '')
}

function statuses(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d+) /g)].map(match => Number(match[1]))
}
