import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttp2Server, connect as http2Connect } from 'node:http2'
import { type AddressInfo, connect, isIPv6 } from 'node:net'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { hostnameOf, hostOf, isDosDevice, parseHost, type Refusal } from '../lib/hostname.ts'
import { importOn } from './support/import-on.ts'

type Outcome = string | Refusal | undefined

interface Row {
  id: string
  group: string
  transport: string
  raw: string
  expect: 'valid' | 'refuse' | 'not found'
  expectWin32?: 'refuse'
  name?: string
  why: string
  layer?: 'node' | 'middleware'
  setup?: { trustProxy?: boolean }
}

const LABEL = '(?!-)[a-z0-9_-]{1,63}(?<!-)'
const NAME = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`)

describe('parseHost', () => {
  const names: [host: string, name: string, title?: string][] = [
    ['example.com', 'example.com'],
    ['EXAMPLE.Com', 'example.com'],
    ['example.com.', 'example.com'],
    ['example.com:', 'example.com'],
    ['example.com:080', 'example.com'],
    ['example.com.:65535', 'example.com'],
    ['a_b.example', 'a_b.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['127.0.0.1:80', '127.0.0.1'],
    ['0x7f.example', '0x7f.example'],
    ['0xyz', '0xyz'],
    ['a.00x1', 'a.00x1'],
    ['a.b-1', 'a.b-1'],
    ['1-1', '1-1'],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['[::1]', '[::1]'],
    ['[2001:DB8::A]:8080', '[2001:db8::a]'],
    [`${'a'.repeat(63)}.b`, `${'a'.repeat(63)}.b`, 'a label of 63'],
    [`${'a.'.repeat(126)}a.:80`, `${'a.'.repeat(126)}a`, 'a name of 253, with a dot and a port'],
  ]
  for (const [host, name, title] of names) {
    it(`reads ${title ?? JSON.stringify(host)}`, () => assert.equal(parseHost(host), name))
  }

  const refused: [host: string, rule: RegExp, title?: string][] = [
    ['', /host is empty/],
    [':80', /host is empty/],
    ['.', /host is empty/],
    ['..', /label is empty/],
    ['a..b', /label is empty/],
    ['.git', /label is empty/],
    ['a.com..', /label is empty/],
    ['-a', /hyphen/],
    ['a-', /hyphen/],
    ['a.b-.c', /hyphen/],
    ['a.-', /hyphen/],
    ['a b', /character/],
    [' a', /character/],
    ['a/b', /character/],
    ['a\\b', /character/],
    ['a%2e', /character/],
    ['a\0', /character/],
    ['user@a', /character/],
    ['\u212a', /character/, 'the Kelvin sign, which lower-cases to k'],
    ['\u0130', /character/, 'an I with a dot'],
    ['a:65536', /port/],
    ['a:-1', /port/],
    ['a:+1', /port/],
    ['a:1e3', /port/],
    ['a:80:80', /port/],
    ['a:80.', /port/],
    ['a:\u0661', /port/, 'a port in Arabic digits'],
    ['::1', /port/],
    ['[::1', /IPv6/],
    ['[]', /IPv6/],
    ['[1::2::3]', /IPv6/],
    ['[fe80::1%eth0]', /IPv6/],
    ['[127.0.0.1]', /IPv6/],
    ['[::1].', /port/],
    ['[::1]x', /port/],
    ['[::1]]', /IPv6/],
    ['[::1]:80]', /IPv6/],
    ['a[::1]', /port/],
    ['1', /number/],
    ['1.2.3', /number/],
    ['01.2.3.4', /number/],
    ['1.2.3.4.5', /number/],
    ['a.1', /number/],
    ['0x7f000001', /number/],
    ['a.0X', /number/],
    [`${'a'.repeat(64)}.b`, /63/, 'a label of 64'],
    [`a.${'a'.repeat(64)}`, /63/, 'a last label of 64'],
    [`${'a.'.repeat(126)}ab`, /253/, 'a name of 254'],
  ]
  for (const [host, rule, title] of refused) {
    it(`refuses ${title ?? JSON.stringify(host)} and names the rule`, () => {
      const outcome = parseHost(host)
      assert.ok(typeof outcome === 'object', `${outcome}`)
      assert.match(outcome.refused, rule)
    })
  }

  it('gives the same refusal object for the same rule', () => {
    assert.equal(parseHost('a b'), parseHost('c d'))
    assert.ok(Object.isFrozen(parseHost('a b')))
  })

  it('does nothing to a name that is already canonical', t => {
    const spies = [
      t.mock.method(String.prototype, 'toLowerCase'),
      t.mock.method(String.prototype, 'slice'),
      t.mock.method(RegExp.prototype, 'exec'),
      t.mock.method(RegExp.prototype, 'test'),
    ]
    const names = ['example.com', 'a.b-1.xn--p1ai', '_1.a'].map(parseHost)
    const calls = spies.map(spy => spy.mock.callCount())
    t.mock.restoreAll()
    assert.deepEqual(names, ['example.com', 'a.b-1.xn--p1ai', '_1.a'])
    assert.deepEqual(calls, [0, 0, 0, 0])
  })

  it('refuses the names of DOS devices on Windows', async () => {
    const { parseHost: onWindows } = await importOn<{ parseHost: typeof parseHost }>('win32', 'hostname.js')
    for (const name of ['con', 'NUL', 'aux.example.com', 'com1', 'lpt9.:80']) {
      assert.match((onWindows(name) as Refusal).refused, /device/, name)
    }
    for (const name of ['console', 'example.con', 'com10', 'com']) assert.equal(onWindows(name), name)
    assert.ok(isDosDevice('PRN.txt'))
  })

  it('gives a refusal, an IPv6 literal or a valid name for any text', () => {
    fc.assert(fc.property(anyHost(), host => assertName(parseHost(host))))
  })

  it('gives its own results back unchanged', () => {
    fc.assert(
      fc.property(anyHost(), host => {
        const name = parseHost(host)
        if (typeof name === 'string') assert.equal(parseHost(name), name)
      }),
    )
  })

  it('accepts any valid name in any case, with a dot and a port', () => {
    const label = fc.stringMatching(/^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/)
    const end = fc.constantFrom('', '.', ':80', '.:', ':00')
    fc.assert(
      fc.property(fc.array(label, { maxLength: 3 }), end, (labels, dotAndPort) => {
        const name = [...labels, 'example'].join('.')
        assert.equal(parseHost(name), name)
        assert.equal(parseHost(name.toUpperCase() + dotAndPort), name)
      }),
    )
  })
})

// Rows of the groups left out depend on more than parsing. 'static path' is covered by document-root.spec; 'file
// system', 'load shape', 'control plane' and 'upgrade' by vhost-router.spec; 'tls' and 'http2' are not requests of this
// server.
describe('hostnameOf, through a real server', () => {
  const groups = new Set([
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
  ])
  const rows = vectors().filter(row => row.transport === 'h1' && groups.has(row.group))
  let server: Server
  let trusts: (() => boolean) | undefined

  before(async () => {
    server = createServer((req, res) => res.end(JSON.stringify({ outcome: hostnameOf(req, () => trusts) })))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })
  after(() => server.close())

  it('has rows of every group', () => {
    assert.deepEqual(new Set(rows.map(row => row.group)), groups)
  })

  for (const row of rows) {
    it(`${row.id}: ${describeRow(row)} (${row.why})`, async () => {
      trusts = row.setup?.trustProxy ? () => true : undefined
      const response = await ask(server, row.raw)
      if (row.layer === 'node') return assert.match(response, /^HTTP\/1\.1 400 /)
      assert.match(response, /^HTTP\/1\.1 200 /)
      const { outcome } = JSON.parse(response.slice(response.indexOf('{'))) as { outcome: Outcome }
      assertRow(row, outcome)
    })
  }
})

describe('hostnameOf', () => {
  const trustAll = () => () => true
  const refuses: [title: string, req: IncomingMessage, rule: RegExp][] = [
    ['two equal Host lines', request(['Host', 'a', 'hOST', 'a']), /more than one/],
    ['a Host that is empty beside another', request(['Host', '', 'Host', 'a']), /more than one/],
    ['an empty Host', request(['Host', '']), /empty/],
    ['a target with a user name', request(['Host', 'a'], 'http://u@a/'), /user name/],
    ['a target without a host', request(['Host', 'a'], 'http:///a'), /empty/],
    ['a target of another port', request(['Host', 'a:81'], 'http://a/'), /different/],
    ['a default port of the other scheme', request(['Host', 'a:80'], 'https://a/'), /different/],
    ['a bad Host beside a good target', request(['Host', 'a..b'], 'http://a/'), /label is empty/],
    ['an authority-form target', request(['Host', 'a'], 'a:80'), /neither/],
    ['a scheme alone', request(['Host', 'a'], 'http:a'), /neither/],
    ['a target that only holds a URL', request(['Host', 'a'], 'xhttp://a/'), /neither/],
    ['an IPv6 literal of another port', request(['Host', '[::1]:9090'], 'http://[::1]:8080/'), /different/],
    [
      'an :authority without a scheme, and a port that is not that of https',
      request([':authority', 'a', 'host', 'a:80']),
      /different/,
    ],
    ['a target of another scheme', request(['Host', 'a'], 'ws://a/'), /neither/],
    ['an :authority that differs from Host', request([':authority', 'a', 'host', 'b']), /different/],
    ['an :authority with a user name', request([':authority', 'u@a']), /character/],
    ['an :authority beside an absolute target', request([':authority', 'a'], 'http://a/'), /neither/],
  ]
  for (const [title, req, rule] of refuses) {
    it(`refuses ${title}`, () => {
      const outcome = hostnameOf(req)
      assert.ok(typeof outcome === 'object', `${outcome}`)
      assert.match(outcome.refused, rule)
    })
  }

  const gives: [title: string, req: IncomingMessage, name: string | undefined, host?: string][] = [
    ['the name in Host', request(['Accept', '*/*', 'hOsT', 'A.:8080']), 'a', 'A.:8080'],
    ['nothing without a Host', request(['Accept', '*/*']), undefined],
    ['the name in the target where there is no Host', request([], 'http://A:81?x'), 'a', 'A:81'],
    ['one name for target and Host', request(['Host', 'A:'], 'hTTp://a.:80/x'), 'a', 'a.:80'],
    ['one name for an https target and Host', request(['Host', 'a:443'], 'https://a#x'), 'a', 'a'],
    ['the IPv6 literal of target and Host', request(['Host', '[::A]'], 'http://[::a]:80'), '[::a]'],
    ['Host for a target of two slashes', request(['Host', 'a'], '//evil.example/x'), 'a'],
    ['Host for a path that looks like a URL', request(['Host', 'a'], '/http://evil.example'), 'a'],
    ['Host for an asterisk', request(['Host', 'a'], '*'), 'a'],
    ['the name in :authority', request([':scheme', 'https', ':authority', 'A:443']), 'a', 'A:443'],
    [
      'one name for :authority and Host',
      request([':scheme', 'http', ':authority', 'a', 'host', 'a:80']),
      'a',
      'a',
    ],
    [
      'the scheme, whatever else has a name as long',
      request([':authority', 'a', 'host', 'a:80', ':scheme', 'http', 'referer', 'https']),
      'a',
    ],
    ['one name for :authority and Host without a scheme', request([':authority', 'a', 'host', 'a:443']), 'a'],
    [
      'Host, whatever else has four letters',
      request([
        'Host',
        'a',
        ...['From', 'Most', 'Hast', 'Hovt', 'Hosh', 'Lost'].flatMap(name => [name, 'b']),
      ]),
      'a',
    ],
    [
      'the name in Host of a request that has only `headers`',
      { headers: { host: 'A' } } as IncomingMessage,
      'a',
    ],
    [
      'the name in Host where an adapter left rawHeaders empty',
      { rawHeaders: [] as string[], headers: { host: 'A' } } as IncomingMessage,
      'a',
    ],
  ]
  for (const [title, req, name, host] of gives) {
    it(`gives ${title}`, () => {
      assert.equal(hostnameOf(req), name)
      if (host !== undefined) assert.equal(hostOf(req), host)
    })
  }

  it('reads the target the client sent, not what a mount path left of it', () => {
    const req = Object.assign(request(['Host', 'a'], '/x'), { originalUrl: 'http://b/mounted/x' })
    assert.match((hostnameOf(req) as Refusal).refused, /different/)
  })

  it('does not build req.headers', () => {
    const req = Object.defineProperty(request(['Host', 'a']), 'headers', { get: () => assert.fail() })
    assert.equal(hostnameOf(req), 'a')
  })

  it('reads the first element of the first X-Forwarded-Host of a trusted peer', () => {
    const lines = ['Host', 'internal', 'X-Forwarded-HOST', ' B:81\t, c', 'x-forwarded-host', 'd']
    assert.equal(hostnameOf(request(lines), trustAll), 'b')
    assert.equal(hostOf(request(lines), trustAll), 'B:81')
    assert.equal(
      hostnameOf({ headers: { 'x-forwarded-host': 'b' } } as unknown as IncomingMessage, trustAll),
      'b',
    )
  })

  it('reads Host if a trusted peer sent no X-Forwarded-Host', () => {
    const others = ['X-Forwarded-Port', 'b', 'Content-Language', 'c']
    assert.equal(hostnameOf(request(['Host', 'a', ...others]), trustAll), 'a')
  })

  it('trusts no peer without an address, except by a rule that does', () => {
    const req = request(['Host', 'a', 'X-Forwarded-Host', 'b'])
    assert.equal(
      hostnameOf(req, () => address => address === ''),
      'b',
    )
    assert.equal(
      hostnameOf(req, () => address => address !== ''),
      'a',
    )
  })

  it('asks whether the peer is trusted by its address, as the first hop', () => {
    const asked: unknown[] = []
    const req = Object.assign(request(['Host', 'a', 'X-Forwarded-Host', 'b']), {
      socket: { remoteAddress: '192.0.2.1' },
    })
    assert.equal(
      hostnameOf(req as unknown as IncomingMessage, () => (...peer) => {
        asked.push(...peer)
        return false
      }),
      'a',
    )
    assert.deepEqual(asked, ['192.0.2.1', 0])
  })

  const badForwarded: [title: string, lines: string[]][] = [
    ['an empty first element', ['Host', 'a', 'X-Forwarded-Host', ' , b']],
    ['an empty value', ['Host', 'a', 'X-Forwarded-Host', '']],
    ['a bad name', ['Host', 'a', 'X-Forwarded-Host', '../b']],
    ['a no-break space at its edge', ['Host', 'a', 'X-Forwarded-Host', '\u00a0b']],
    ['two Host lines', ['Host', 'a', 'Host', 'a', 'X-Forwarded-Host', 'b']],
  ]
  for (const [title, lines] of badForwarded) {
    it(`refuses X-Forwarded-Host with ${title}`, () => {
      assert.equal(typeof hostnameOf(request(lines), trustAll), 'object')
    })
  }

  it('does not ask which peers are trusted if there is nothing to trust in the request', () => {
    const asked = (): never => assert.fail('asked')
    assert.equal(hostnameOf(request(['Host', 'a']), asked), 'a')
    const twice = request(['Host', 'a', 'Host', 'a', 'X-Forwarded-Host', 'b'])
    assert.equal(typeof hostnameOf(twice, asked), 'object')
  })

  it('ignores X-Forwarded-Host if nobody is trusted', () => {
    assert.equal(hostnameOf(request(['X-Forwarded-Host', 'b', 'Host', 'a'])), 'a')
    assert.equal(
      hostnameOf({ headers: { host: 'a', 'x-forwarded-host': 'b' } } as unknown as IncomingMessage),
      'a',
    )
  })

  it('reads :authority of an HTTP/2 request', async () => {
    const server = createHttp2Server((req, res) => {
      res.end(JSON.stringify({ outcome: hostnameOf(req as unknown as IncomingMessage) }))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    // Newer versions of nghttp2 end the session over some of these before the request reaches us.
    const outcomeOf = async (headers: Record<string, string>): Promise<Outcome> => {
      const session = http2Connect(url)
      session.on('error', () => {})
      try {
        const stream = session.request({ ':path': '/', ...headers })
        const body = await stream.setEncoding('utf8').toArray()
        return (JSON.parse(body.join('')) as { outcome: Outcome }).outcome
      } catch (error) {
        assert.match(String(error), /PROTOCOL_ERROR/)
        return { refused: 'by nghttp2' }
      } finally {
        session.destroy()
      }
    }
    try {
      assert.equal(await outcomeOf({ ':authority': 'A.example:8443' }), 'a.example')
      assert.equal(typeof (await outcomeOf({ ':authority': 'u@a.example' })), 'object')
      assert.equal(await outcomeOf({ ':authority': 'a.example', host: 'a.example:80' }), 'a.example')
      assert.equal(typeof (await outcomeOf({ ':authority': 'a.example', host: 'b.example' })), 'object')
    } finally {
      server.close()
    }
  })
})

describe('hostOf', () => {
  it('gives undefined if the request names no host, and a refusal if two lines name one', () => {
    assert.equal(hostOf(request([])), undefined)
    assert.deepEqual(hostOf(request(['Host', 'a', 'Host', 'a'])), { refused: 'there is more than one Host' })
  })
})

function vectors(): Row[] {
  return (JSON.parse(readFileSync('spec/vectors/hosts.json', 'utf8')) as { vectors: Row[] }).vectors
}

function describeRow(row: Row): string {
  if (row.layer === 'node') return "is refused by Node's own parser"
  return { valid: 'gives the name', refuse: 'is refused', 'not found': 'gives what leads to no vhost' }[
    row.expect
  ]
}

function assertRow(row: Row, outcome: Outcome): void {
  const expect = (process.platform === 'win32' && row.expectWin32) || row.expect
  if (expect === 'refuse') assert.equal(typeof outcome, 'object', `${outcome}`)
  else if (expect === 'valid') assert.equal(outcome, row.name)
  else if (outcome !== undefined) {
    assert.equal(typeof outcome, 'string')
    assertName(outcome)
  }
}

function assertName(outcome: Outcome): void {
  if (typeof outcome !== 'string') assert.ok(outcome?.refused)
  else if (outcome.startsWith('[')) assert.ok(isIPv6(outcome.slice(1, -1)) && outcome.endsWith(']'))
  else assert.match(outcome, NAME)
}

function anyHost(): fc.Arbitrary<string> {
  const telling = fc.constantFrom(...'aZ09xX-_..::[]%/\\@ \t\0\u212a\u0130', '[::1]', '0x', '127.0.0.1')
  return fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: telling, maxLength: 12 }))
}

function request(rawHeaders: string[], url = '/'): IncomingMessage {
  return { rawHeaders, url } as IncomingMessage
}

function ask(server: Server, raw: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let response = ''
    connect((server.address() as AddressInfo).port, '127.0.0.1')
      .setEncoding('latin1')
      .on('data', chunk => {
        response += chunk
      })
      .on('error', reject)
      .on('close', () => resolve(response))
      .write(raw, 'latin1')
  })
}
