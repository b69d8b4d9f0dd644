import assert from 'node:assert/strict'
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, renameSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { before, describe, it } from 'node:test'
import tls from 'node:tls'
import type { VhostRouterOptions } from '../lib/index.ts'
import { Certificates } from '../lib/tls/certificates.ts'
import { type VhostTls, type VhostTlsFault, type VhostTlsOptions, vhostTls } from '../lib/tls.ts'
import { issue, type Pair } from './support/certificate.ts'
import { FsCalls } from './support/patched-fs.ts'
import { eventually, type Handler, World } from './support/world.ts'

let aries: Pair
let ariesRenewed: Pair
let leo: Pair
let wildcard: Pair
let fallback: Pair

before(async () => {
  ;[aries, ariesRenewed, leo, wildcard, fallback] = await Promise.all([
    issue(['aries.test', 'www.aries.test']),
    issue(['aries.test', 'www.aries.test']),
    issue(['leo.test']),
    issue(['*.any.test', 'any.test']),
    issue(['fallback.test']),
  ])
})

/** A world with an HTTPS server in front of it. */
class TlsWorld {
  readonly world: World
  readonly tls: VhostTls
  readonly faults: (VhostTlsFault & { error: Error })[] = []
  server!: https.Server | http2.Http2SecureServer

  constructor(options: VhostRouterOptions = {}, tlsOptions: VhostTlsOptions = {}) {
    this.world = new World(options, (app, vhosts) => {
      app.use((req, res, next) => this.tls.misdirected(req, res, next)).use(vhosts)
    })
    this.tls = vhostTls(this.world.vhosts, {
      onError: (error, about) => this.faults.push({ error, ...about }),
      ...tlsOptions,
    })
  }

  static async start(...values: ConstructorParameters<typeof TlsWorld>): Promise<TlsWorld> {
    const world = new TlsWorld(...values)
    world.server = https.createServer({ ...fallback, SNICallback: world.tls.SNICallback }, world.world.app)
    return await world.listen()
  }

  async listen(): Promise<this> {
    this.server.listen(0)
    await once(this.server, 'listening')
    return this
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  certify(vhost: string, { key, cert }: Pair): void {
    this.world.write(`${vhost}/certs/key.pem`, key)
    this.world.write(`${vhost}/certs/cert.pem`, cert)
  }

  /** Which certificate is shown to a client. */
  async shown(servername: string, options: tls.ConnectionOptions = {}): Promise<string> {
    const socket = tls.connect({ port: this.port, servername, rejectUnauthorized: false, ...options })
    await once(socket, 'secureConnect')
    const { raw } = socket.getPeerCertificate()
    socket.destroy()
    return new X509Certificate(raw).fingerprint256
  }

  async get(servername: string, host = servername): Promise<[status: number | undefined, body: string]> {
    const request = https.get({
      port: this.port,
      servername,
      headers: { host },
      rejectUnauthorized: false,
      agent: false,
    })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return [response.statusCode, await text(response)]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.server instanceof https.Server) this.server.closeAllConnections()
    this.server?.close()
    await this.world[Symbol.asyncDispose]()
  }
}

/** https://github.com/nodejs/node/issues/54235 */
const mixingKinds = isBeforeFix() && 'this Node keeps the pair of the server beside one of another kind'

function isBeforeFix(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major < 24 || (major === 24 && minor < 20) || major === 25 || (major === 26 && minor < 7)
}

function idOf({ cert }: Pair): string {
  return new X509Certificate(cert).fingerprint256
}

describe('SNICallback', () => {
  it('finds the certificate of the vhost to which a request would be routed', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0/current', '%0', '.any.%2+', '.default'] })
    const { world } = all
    all.certify('aries.test', aries)
    world.link('www.aries.test', 'aries.test')
    all.certify('releases/1', leo)
    world.link('leo.test/current', '../releases/1')
    all.certify('.any.any.test', wildcard)
    assert.equal(await all.shown('aries.test'), idOf(aries))
    assert.equal(await all.shown('Aries.TEST'), idOf(aries))
    assert.equal(await all.shown('www.aries.test'), idOf(aries))
    assert.equal(await all.shown('leo.test'), idOf(leo))
    assert.equal(await all.shown('virgo.any.test'), idOf(wildcard))
    assert.deepEqual(all.faults, [])
  })

  it('leaves names without a certificate, and clients that send no name, to the server', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    all.world.site('leo.test', 'leo')
    for (const name of ['leo.test', 'nobody.test', 'a..b', '_', '', 'node_modules', 'x'.repeat(250)]) {
      assert.equal(await all.shown(name), idOf(fallback), name)
    }
    assert.deepEqual(all.faults, [])
    assert.equal(all.world.told.length, 0)
  })

  it('proves that it holds the key: a client that checks accepts it', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    all.world.site('aries.test', 'aries')
    const request = https.get({
      port: all.port,
      servername: 'aries.test',
      ca: aries.cert,
      headers: { host: 'aries.test' },
      agent: false,
    })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(await text(response), 'aries')
  })

  it('shows a renewed certificate at the next handshake', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    assert.equal(await all.shown('aries.test'), idOf(aries))
    all.certify('aries.test', ariesRenewed)
    assert.equal(await all.shown('aries.test'), idOf(ariesRenewed))
    all.certify('new', aries)
    all.world.remove('aries.test/certs')
    all.world.link('aries.test/certs', '../new/certs')
    assert.equal(await all.shown('aries.test'), idOf(aries))
    assert.deepEqual(all.faults, [])
  })

  const broken: [what: string, renew: (all: TlsWorld) => void][] = [
    [
      'a certificate cut in half',
      all => all.world.write('aries.test/certs/cert.pem', half(ariesRenewed.cert)),
    ],
    ['an empty key', all => all.world.write('aries.test/certs/key.pem', '')],
    ['the key of another certificate', all => all.world.write('aries.test/certs/key.pem', leo.key)],
    [
      'a chain cut in half',
      all => all.certify('aries.test', { ...ariesRenewed, cert: ariesRenewed.cert + half(leo.cert) }),
    ],
    ['a key that is gone', all => all.world.remove('aries.test/certs/key.pem')],
    [
      'a folder in the place of a file',
      all => {
        all.world.remove('aries.test/certs/key.pem')
        mkdirSync(all.world.path('aries.test/certs/key.pem'))
      },
    ],
    ['what is too large', all => all.world.write('aries.test/certs/cert.pem', aries.cert.padEnd(2 ** 21))],
  ]
  for (const [what, renew] of broken) {
    it(`keeps the last good certificate for ${what}, reports it once, and heals`, async () => {
      await using all = await TlsWorld.start()
      all.certify('aries.test', aries)
      assert.equal(await all.shown('aries.test'), idOf(aries))
      renew(all)
      for (let time = 0; time < 3; time++) assert.equal(await all.shown('aries.test'), idOf(aries))
      assert.equal(all.faults.length, 1)
      const [{ realPath, serving } = {}] = all.faults
      assert.deepEqual([realPath, serving], [all.world.path('aries.test'), true])
      all.world.remove('aries.test/certs')
      all.certify('aries.test', ariesRenewed)
      assert.equal(await all.shown('aries.test'), idOf(ariesRenewed))
    })
  }

  it('shows the certificate of the server if none was good yet', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', { ...aries, key: leo.key })
    for (let time = 0; time < 2; time++) assert.equal(await all.shown('aries.test'), idOf(fallback))
    assert.deepEqual(
      all.faults.map(({ serving }) => serving),
      [false],
    )
    all.certify('aries.test', aries)
    assert.equal(await all.shown('aries.test'), idOf(aries))
  })

  it('refuses an RSA key so large that each handshake would hold up everybody', async () => {
    await using all = await TlsWorld.start()
    for (const [bits, message] of [
      [4096, 'the key is that of another certificate'],
      [4112, 'the key has more than 4096 bits'],
      [65_536, 'the key has more than 4096 bits'],
    ] as const) {
      all.certify('aries.test', { ...aries, key: rsaKey(bits) })
      assert.equal(await all.shown('aries.test'), idOf(fallback))
      assert.equal(all.faults.at(-1)?.error.message, message)
    }
  })

  it('drops a certificate when both of its files are gone for good', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    await all.shown('aries.test')
    all.world.remove('aries.test/certs')
    assert.equal(await all.shown('aries.test'), idOf(aries))
    await eventually(async () => assert.equal(await all.shown('aries.test'), idOf(fallback)))
    assert.deepEqual(all.faults, [])
  })

  it('ends the handshake when the disk fails, and goes on', async () => {
    let isFailing = true
    await using all = await TlsWorld.start({
      getVhostPath: hostname => {
        if (isFailing) throw Object.assign(new Error('EIO: no luck'), { code: 'EIO' })
        return hostname
      },
    })
    all.certify('aries.test', aries)
    await assert.rejects(all.shown('aries.test'))
    isFailing = false
    assert.equal(await all.shown('aries.test'), idOf(aries))
  })

  it('writes faults to stderr if it has no onError', async t => {
    await using all = await TlsWorld.start({}, { onError: undefined })
    all.certify('aries.test', { ...aries, key: 'no key' })
    const { mock } = t.mock.method(console, 'error', () => {})
    await all.shown('aries.test')
    assert.match(
      String(mock.calls[0]?.arguments[0]),
      /^express-van: the certificate of .*aries\.test is not used, clients are shown the server's own: [^\n]+(\n .*)+$/,
    )
  })

  it('shows the certificate before a bad one even if onError throws', async t => {
    const onError = (): void => assert.fail('of the listener')
    await using all = await TlsWorld.start({}, { onError })
    const { mock } = t.mock.method(console, 'error', () => {})
    all.certify('aries.test', aries)
    assert.equal(await all.shown('aries.test'), idOf(aries))
    all.certify('aries.test', { ...aries, key: 'no key' })
    assert.equal(await all.shown('aries.test'), idOf(aries))
    assert.match(String(mock.calls[0]?.arguments), /onError of vhostTls\(\) threw:.*of the listener/)
  })

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`shows keys of every kind by ${maxVersion} if the server has no pair of its own`, async () => {
      const rsa = await issue(['leo.test'], { keyType: 'rsa' })
      await using all = new TlsWorld()
      all.server = https.createServer({ SNICallback: all.tls.SNICallback }, all.world.app)
      await all.listen()
      all.certify('aries.test', aries)
      all.certify('leo.test', rsa)
      assert.equal(await all.shown('aries.test', { maxVersion }), idOf(aries))
      assert.equal(await all.shown('leo.test', { maxVersion }), idOf(rsa))
      await assert.rejects(all.shown('nobody.test', { maxVersion }))
      await assert.rejects(all.shown('', { maxVersion }))
    })

    it(`shows keys of another kind than that of the server by ${maxVersion}`, {
      skip: mixingKinds,
    }, async () => {
      const rsa = await issue(['leo.test'], { keyType: 'rsa' })
      await using all = new TlsWorld()
      all.certify('aries.test', aries)
      all.certify('leo.test', rsa)
      for (const own of [fallback, await issue(['fallback.test'], { keyType: 'rsa' })]) {
        all.server = https.createServer({ ...own, SNICallback: all.tls.SNICallback }, all.world.app)
        await all.listen()
        for (const [name, pair] of [
          ['aries.test', aries],
          ['leo.test', rsa],
          ['nobody.test', own],
        ] as const) {
          assert.equal(await all.shown(name, { maxVersion }), idOf(pair))
        }
        all.server.close()
      }
    })
  }

  it('reports once each certificate for which Node keeps that of the server', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    all.certify('leo.test', await issue(['leo.test'], { keyType: 'rsa' }))
    for (const name of ['aries.test', 'leo.test', 'leo.test']) await all.shown(name)
    const realPath = all.world.path('leo.test')
    const told = all.faults.map(({ error, ...about }) => ({ ...about, kinds: error.message.slice(0, 63) }))
    const kinds = `its key is of the kind rsa, the server's own of the kind ec: No`
    assert.deepEqual(told, mixingKinds ? [{ realPath, serving: false, kinds }] : [])
  })

  it('reports it even if the first client left before its certificate was found', {
    skip: !mixingKinds,
  }, async () => {
    await using all = new TlsWorld()
    all.certify('leo.test', await issue(['leo.test'], { keyType: 'rsa' }))
    let isFirst = true
    all.server = https.createServer({
      ...fallback,
      SNICallback(this: tls.TLSSocket, ...values) {
        if (isFirst) this.destroy()
        isFirst = false
        all.tls.SNICallback.apply(this, values)
      },
    })
    await all.listen()
    await assert.rejects(all.shown('leo.test'))
    await all.shown('leo.test')
    assert.equal(all.faults.length, 1)
  })

  it('works as well if the server calls it from a function of its own', async () => {
    await using all = new TlsWorld()
    all.certify('leo.test', await issue(['leo.test'], { keyType: 'rsa' }))
    const { SNICallback } = all.tls
    const server = https.createServer({ ...fallback, SNICallback: (name, done) => SNICallback(name, done) })
    all.server = server
    await all.listen()
    await all.shown('leo.test')
    assert.deepEqual(all.faults, [])
  })

  it('takes what else a context needs from its options', async () => {
    const locked = await issue(['aries.test'], { passphrase: 'secret' })
    await using all = await TlsWorld.start({}, { secureContext: { passphrase: 'secret' } })
    all.certify('aries.test', locked)
    assert.equal(await all.shown('aries.test'), idOf(locked))
  })

  it('keeps a bounded number of certificates, each read once', async () => {
    await using all = await TlsWorld.start()
    all.certify('aries.test', aries)
    const certificates = new Certificates({}, () => {}, 5)
    const of = (path: string): ReturnType<Certificates['of']> => certificates.of({ path, realPath: path })
    const path = all.world.path('aries.test')
    const together = await Promise.all(Array.from({ length: 10 }, () => of(path)))
    assert.equal(new Set(together.map(certificate => certificate?.context)).size, 1)
    const [first] = together
    for (let n = 0; n < 8; n++) {
      all.world.link(`${n}/certs`, join(path, 'certs'))
      if (n === 4) assert.equal(await of(path), first)
      await of(all.world.path(String(n)))
    }
    assert.equal(await of(path), first)
    for (let n = 0; n < 5; n++) await of(all.world.path(String(n)))
    assert.notEqual(await of(path), first)
  })

  it('serves HTTP/2 and HTTP/1.1 on one port', async () => {
    await using all = new TlsWorld()
    all.server = http2.createSecureServer(
      { ...fallback, allowHTTP1: true, SNICallback: all.tls.SNICallback },
      asHandler((req, res) => {
        const failed = (error: unknown): void => {
          res.statusCode = (error as { status?: number } | undefined)?.status ?? 404
          res.end()
        }
        all.tls.misdirected(req, res, error => {
          if (error) failed(error)
          else all.world.vhosts(req, res, failed)
        })
      }),
    )
    await all.listen()
    all.world.site('aries.test', 'aries')
    all.world.link('www.aries.test', 'aries.test')
    all.certify('aries.test', aries)
    all.world.site('leo.test', 'leo')
    all.certify('leo.test', leo)
    assert.deepEqual(await all.get('aries.test'), [200, 'aries'])
    assert.deepEqual(await all.get('aries.test', 'leo.test'), [421, ''])
    const session = http2.connect(`https://localhost:${all.port}`, {
      servername: 'aries.test',
      ca: aries.cert,
    })
    try {
      for (const [authority, status, body] of [
        ['aries.test', 200, 'aries'],
        [`aries.test:${all.port}`, 200, 'aries'],
        ['www.aries.test', 200, 'aries'],
        ['leo.test', 421, ''],
      ] as const) {
        const stream = session.request({ ':path': '/', ':authority': authority })
        const [headers] = await once(stream, 'response')
        assert.deepEqual([headers[':status'], await text(stream)], [status, body], authority)
      }
    } finally {
      session.destroy()
    }
  })
})

describe('SNICallback, when the disk differs from what serves', () => {
  /** Asserts that it is shown again and again until something missing would count as gone for good. */
  async function assertStaysShown(all: TlsWorld, name: string, pair: Pair): Promise<void> {
    const end = performance.now() + 400
    do assert.equal(await all.shown(name), idOf(pair))
    while (performance.now() < end)
  }

  async function startWithReleases(): Promise<TlsWorld> {
    const all = await TlsWorld.start()
    all.world.site('releases/1', 'one')
    all.certify('releases/1', aries)
    all.world.link('aries.test', 'releases/1')
    assert.deepEqual(await all.get('aries.test'), [200, 'one'])
    return all
  }

  it('keeps the certificate during a short absence of the folder, and does not show the catch-all', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0', '.default'] })
    const { world } = all
    world.site('.default', 'default')
    all.certify('.default', leo)
    for (const folder of ['aries.test', '.new']) {
      world.site(folder, 'aries')
      all.certify(folder, aries)
    }
    assert.deepEqual(await all.get('aries.test'), [200, 'aries'])
    renameSync(world.path('aries.test'), world.path('.old'))
    assert.equal(await all.shown('aries.test'), idOf(aries))
    renameSync(world.path('.new'), world.path('aries.test'))
    assert.equal(await all.shown('aries.test'), idOf(aries))
    assert.deepEqual(all.faults, [])
  })

  it('keeps the certificate while the base path is away', async () => {
    await using all = await TlsWorld.start()
    const { world } = all
    world.site('aries.test', 'aries')
    all.certify('aries.test', aries)
    assert.deepEqual(await all.get('aries.test'), [200, 'aries'])
    renameSync(world.path(), join(world.base, 'away'))
    await assertStaysShown(all, 'aries.test', aries)
    assert.equal(await all.shown('nobody.test'), idOf(fallback))
    renameSync(join(world.base, 'away'), world.path())
    all.certify('aries.test', ariesRenewed)
    assert.equal(await all.shown('aries.test'), idOf(ariesRenewed))
  })

  it('shows the certificate of the serving release if a newer one has none and does not load', async () => {
    await using all = await startWithReleases()
    const { world } = all
    world.write('releases/2/app/index.js', 'throw new Error("broken")')
    world.link('aries.test', 'releases/2')
    await eventually(() => world.events('error').length > 0)
    await assertStaysShown(all, 'aries.test', aries)
    all.certify('releases/1', ariesRenewed)
    assert.equal(await all.shown('aries.test'), idOf(ariesRenewed))
    world.remove('releases/1/certs')
    await eventually(async () => assert.equal(await all.shown('aries.test'), idOf(fallback)))
    all.certify('releases/2', leo)
    assert.equal(await all.shown('aries.test'), idOf(leo))
  })

  it('keeps the certificate of the release before if the new one is unusable, until both files are gone', async () => {
    await using all = await startWithReleases()
    const { world } = all
    world.site('releases/2', 'two')
    all.certify('releases/2', { ...aries, key: 'no key' })
    world.link('aries.test', 'releases/2')
    await eventually(async () => assert.deepEqual(await all.get('aries.test'), [200, 'two']))
    await assertStaysShown(all, 'aries.test', aries)
    assert.deepEqual(
      all.faults.map(({ realPath, serving }) => [realPath, serving]),
      [[world.path('releases/2'), true]],
    )
    world.link('leo.test', 'releases/2')
    assert.equal(await all.shown('leo.test'), idOf(fallback))
    renameSync(world.path(), join(world.base, 'away'))
    await assertStaysShown(all, 'aries.test', aries)
    renameSync(join(world.base, 'away'), world.path())
    world.remove('releases/2/certs')
    assert.equal(await all.shown('aries.test'), idOf(aries))
    await eventually(async () => assert.equal(await all.shown('aries.test'), idOf(fallback)))
    all.certify('releases/2', { ...aries, key: 'no key' })
    assert.equal(await all.shown('aries.test'), idOf(fallback))
  })

  it('leaves a serving release without a certificate to the server', async () => {
    await using all = await startWithReleases()
    all.world.site('releases/2', 'two')
    all.world.link('aries.test', 'releases/2')
    await eventually(async () => assert.deepEqual(await all.get('aries.test'), [200, 'two']))
    assert.equal(await all.shown('aries.test'), idOf(fallback))
  })

  it('shows the certificate of what serves while it cannot be looked up', async () => {
    let isFailing = false
    await using all = await TlsWorld.start({
      getVhostPath: hostname => {
        if (isFailing) throw Object.assign(new Error('EIO: no luck'), { code: 'EIO' })
        return hostname === 'www.aries.test' ? 'aries.test' : hostname
      },
    })
    const { world } = all
    for (const name of ['aries.test', 'leo.test', 'bare.test']) world.site(name, name)
    all.certify('aries.test', aries)
    all.certify('leo.test', leo)
    for (const name of ['aries.test', 'www.aries.test', 'leo.test', 'bare.test'])
      assert.equal((await all.get(name))[0], 200)
    isFailing = true
    assert.deepEqual(await all.get('Aries.TEST'), [200, 'aries.test'])
    assert.deepEqual(await all.get('aries.test', 'www.aries.test'), [200, 'aries.test'])
    assert.deepEqual(await all.get('aries.test', 'leo.test'), [421, 'outer error'])
    assert.equal(await all.shown('aries.test'), idOf(aries))
    assert.equal(await all.shown('bare.test'), idOf(fallback))
    await assert.rejects(all.shown('nobody.test'))
    all.certify('aries.test', ariesRenewed)
    assert.equal(await all.shown('aries.test'), idOf(ariesRenewed))
  })

  it('shows no certificate of a wildcard for a folder that overrules it', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0', '.any.%2+'] })
    const { world } = all
    world.site('.any.any.test', 'any')
    all.certify('.any.any.test', wildcard)
    for (const name of ['bare.any.test', 'broken.any.test', 'own.any.test']) {
      assert.deepEqual(await all.get(name), [200, 'any'])
      world.site(name, 'own')
    }
    all.certify('broken.any.test', { ...leo, key: 'no key' })
    all.certify('own.any.test', leo)
    for (const [name, pair] of [
      ['bare.any.test', fallback],
      ['broken.any.test', fallback],
      ['own.any.test', leo],
      ['other.any.test', wildcard],
    ] as const) {
      const body = pair === wildcard ? 'any' : 'own'
      await eventually(async () => assert.deepEqual(await all.get(name), [200, body]))
      assert.equal(await all.shown(name), idOf(pair), name)
    }
  })

  it('lets no name that a stranger makes up harm names that are served', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0', '.any.%2+'] })
    const { world } = all
    world.site('releases/1', 'one')
    all.certify('releases/1', wildcard)
    world.link('.any.any.test', 'releases/1')
    assert.deepEqual(await all.get('one.any.test'), [200, 'one'])
    world.write('releases/2/app/index.js', 'throw new Error("broken")')
    world.link('.any.any.test', 'releases/2')
    world.remove('releases/1')
    await eventually(() => world.events('error').length > 0)
    assert.equal(await all.shown('made-up.any.test'), idOf(wildcard))
    assert.deepEqual(await all.get('another.any.test'), [200, 'one'])
    await assertStaysShown(all, 'one.any.test', wildcard)
  })

  it('shows the certificate of a release that is being loaded, also to the names of a wildcard', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0', '.any.%2+'] })
    const { world } = all
    world.site('releases/1', 'one')
    world.link('.any.any.test', 'releases/1')
    assert.deepEqual(await all.get('one.any.test'), [200, 'one'])
    world.write('releases/2/app/index.js', 'module.exports = new Promise(() => {})')
    all.certify('releases/2', wildcard)
    world.link('.any.any.test', 'releases/2')
    for (const name of ['one.any.test', 'other.any.test']) {
      assert.equal(await all.shown(name), idOf(wildcard))
      assert.deepEqual(await all.get(name), [200, 'one'])
    }
  })

  it('forgets the certificate of a vhost that is deleted', async () => {
    await using all = await startWithReleases()
    const { world } = all
    for (const release of ['releases/2', 'releases/3']) {
      world.site(release, release)
      all.certify(release, { ...aries, key: 'no key' })
    }
    world.link('aries.test', 'releases/2')
    await eventually(async () => assert.deepEqual(await all.get('aries.test'), [200, 'releases/2']))
    assert.equal(await all.shown('aries.test'), idOf(aries))
    const isGone = world.event('evict', ({ reason }) => reason === 'deleted')
    world.remove('aries.test')
    await isGone
    assert.equal(await all.shown('aries.test'), idOf(fallback))
    world.link('aries.test', 'releases/3')
    assert.deepEqual(await all.get('aries.test'), [200, 'releases/3'])
    assert.equal(await all.shown('aries.test'), idOf(fallback))
  })

  it('looks no more often at the disk for a vhost that is served than for one that is not', async () => {
    await using all = await TlsWorld.start()
    for (const name of ['aries.test', 'leo.test', 'bare.test']) all.world.write(`${name}/static/x`, '')
    all.certify('aries.test', aries)
    all.certify('leo.test', leo)
    all.world.site('aries.test', 'aries')
    all.world.site('bare.test', 'bare')
    for (const name of ['aries.test', 'bare.test']) await all.get(name)
    await all.shown('leo.test')
    const looks = async (name: string): Promise<number> => {
      using calls = new FsCalls()
      await all.shown(name)
      return calls.paths.filter(path => path.startsWith(all.world.path(name))).length
    }
    assert.equal(await looks('aries.test'), await looks('leo.test'))
    assert.equal(await looks('bare.test'), await looks('leo.test'))
  })
})

describe('misdirected', () => {
  it('answers 421 if SNI and Host differ and lead to different certificates', async () => {
    await using all = await TlsWorld.start({ vhostDir: ['%0', '.any.%2+'] })
    const { world } = all
    for (const name of ['aries.test', 'leo.test', 'bare.test', 'other.test', '.any.any.test']) {
      world.site(name, name)
    }
    world.link('www.aries.test', 'aries.test')
    all.certify('aries.test', aries)
    all.certify('leo.test', leo)
    all.certify('.any.any.test', wildcard)
    world.site('copy.any.test', 'copy')
    all.certify('copy.any.test', wildcard)
    world.site('own.any.test', 'own')
    all.certify('own.any.test', leo)
    world.site('any.test', 'any')
    const table: [servername: string, host: string, status: number, body: string][] = [
      ['aries.test', 'aries.test', 200, 'aries.test'],
      ['aries.test', 'ARIES.test.:8443', 200, 'aries.test'],
      ['aries.test', 'www.aries.test', 200, 'aries.test'],
      ['www.aries.test', 'aries.test', 200, 'aries.test'],
      ['aries.test', 'leo.test', 421, 'outer error'],
      ['leo.test', 'www.aries.test', 421, 'outer error'],
      ['aries.test', 'bare.test', 421, 'outer error'],
      ['aries.test', 'nobody.test', 421, 'outer error'],
      ['bare.test', 'aries.test', 421, 'outer error'],
      ['nobody.test', 'aries.test', 421, 'outer error'],
      ['a..b', 'aries.test', 421, 'outer error'],
      ['bare.test', 'other.test', 200, 'other.test'],
      ['bare.test', 'nobody.test', 404, 'nobody serves this'],
      ['one.any.test', 'two.any.test', 200, '.any.any.test'],
      ['one.any.test', 'copy.any.test', 200, 'copy'],
      ['one.any.test', 'any.test', 200, 'any'],
      ['one.any.test', 'own.any.test', 421, 'outer error'],
      ['', 'aries.test', 200, 'aries.test'],
      ['aries.test', 'a..b', 400, 'outer error'],
    ]
    for (const [servername, host, status, body] of table) {
      assert.deepEqual(await all.get(servername, host), [status, body], `${servername} ${host}`)
    }
    const [error] = world.errors as { code: string; status: number; hostname: string; message: string }[]
    assert.deepEqual(
      [error?.code, error?.status, error?.hostname],
      ['ERR_VHOST_MISDIRECTED', 421, 'leo.test'],
    )
    assert.ok(!error?.message.includes(world.base))
  })

  it('lets requests without TLS, without SNI or without Host pass', async () => {
    await using all = new TlsWorld()
    let passed = 0
    const next = (error?: unknown): void => {
      assert.equal(error, undefined)
      passed++
    }
    const res = {} as ServerResponse
    const ended = {
      get servername(): string {
        throw new Error('The socket has been disconnected from the Http2Session')
      },
    }
    for (const socket of [{}, { servername: false }, { servername: '' }, ended]) {
      all.tls.misdirected({ socket, headers: { host: 'a.test' } } as unknown as IncomingMessage, res, next)
    }
    all.tls.misdirected(
      { socket: { servername: 'a.test' }, headers: {} } as unknown as IncomingMessage,
      res,
      next,
    )
    assert.equal(passed, 5)
  })

  it('passes the error of a failing disk to the error handler', async () => {
    await using all = await TlsWorld.start({
      getVhostPath: hostname => {
        if (hostname === 'leo.test') throw Object.assign(new Error('EIO'), { code: 'EIO' })
        return undefined
      },
    })
    assert.deepEqual(await all.get('aries.test', 'leo.test'), [500, 'outer error'])
  })
})

describe('ask', () => {
  async function asked(world: World, query: string, askOptions?: { dir?: string }): Promise<number> {
    const server = http.createServer(vhostTls(world.vhosts).ask(askOptions)).listen(0)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const request = http.get({ port, path: `/${query}`, agent: false })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(await text(response), '')
    server.close()
    return response.statusCode ?? 0
  }

  it('answers yes for a name with a folder of its own that has an app or a document root', async () => {
    await using world = await World.start({ vhostDir: ['%0/current', '%0', '.any.%2+', '.default'] })
    world.site('aries.test', 'aries')
    world.link('www.aries.test', 'aries.test')
    world.site('releases/1', 'leo')
    world.link('leo.test/current', '../releases/1')
    world.link('virgo.test/current', '../releases/9')
    world.write('libra.test/static/index.html', '')
    world.write('cancer.test/public/index.html', '')
    world.write('empty.test/readme.txt', '')
    world.write('gemini.test/static', 'a file')
    world.write('broken.test/app/readme.txt', '')
    world.site('.any.any.test', 'any')
    world.site('.default', 'default')
    const table: [query: string, status: number][] = [
      ['?domain=aries.test', 200],
      ['ask?x=1&domain=Aries.test', 200],
      ['?domain=www.aries.test', 200],
      ['?domain=leo.test', 200],
      ['?domain=libra.test', 200],
      ['?domain=broken.test', 200],
      ['?domain=virgo.test', 404],
      ['?domain=cancer.test', 404],
      ['?domain=empty.test', 404],
      ['?domain=gemini.test', 404],
      ['?domain=one.any.test', 404],
      ['?domain=nobody.test', 404],
      ['?domain=.default', 400],
      ['?domain=node_modules', 404],
      ['?domain=__proto__', 404],
      ['', 400],
      ['?domain=', 400],
      ['?domain=aries.test&domain=leo.test', 400],
      ['?domain=aries.test:443', 400],
      ['?domain=aries.test.', 400],
      ['?domain=[::1]', 400],
      ['?domain=..%2faries.test', 400],
      ['?domain=%00', 400],
      ['?domain=*.any.test', 400],
      ['?domain=127.1', 400],
    ]
    for (const [query, status] of table) assert.equal(await asked(world, query), status, query)
    assert.equal(await asked(world, '?domain=cancer.test', { dir: 'public' }), 200)
    assert.deepEqual(world.told, [])
    assert.equal(world.vhosts.stats().totals.hostnames, 0)
  })

  it('answers 500 if the disk fails', async () => {
    await using world = await World.start({
      getVhostPath: () => {
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      },
    })
    assert.equal(await asked(world, '?domain=aries.test'), 500)
  })

  it('works as middleware below a path', async () => {
    await using world = await World.start({}, (app, vhosts) =>
      app.use('/ask', vhostTls(vhosts).ask()).use(vhosts),
    )
    world.site('aries.test', 'aries')
    assert.equal((await world.get('localhost', '/ask?domain=aries.test')).status, 200)
    assert.equal((await world.get('localhost', '/ask?domain=leo.test')).status, 404)
  })
})

describe('vhostTls', () => {
  it('says so if it is given anything but a router, and shows nothing of that value', () => {
    for (const given of [undefined, null, 'vhosts', {}, { secureContext: { passphrase: 'secret' } }]) {
      assert.throws(() => vhostTls(given as never), {
        code: 'ERR_VHOST_OPTION',
        message: 'vhostTls() needs the router that vhostRouter() returns, not a value without lookup()',
      })
    }
  })

  it('refuses unknown options and bad values', async () => {
    await using world = await World.start()
    const refused: [call: () => unknown, part: RegExp][] = [
      [() => vhostTls(world.vhosts, { onEror: () => {} } as VhostTlsOptions), /did you mean 'onError'/],
      [() => vhostTls(world.vhosts, { onError: 1 } as unknown as VhostTlsOptions), /'onError' .* function/],
      [
        () => vhostTls(world.vhosts, { secureContext: null } as unknown as VhostTlsOptions),
        /'secureContext'/,
      ],
      [() => vhostTls(world.vhosts, [] as VhostTlsOptions), /object of options/],
      [() => vhostTls(world.vhosts, Object.create({ onError: 1 })), /'onError' .* function/],
      [() => vhostTls(world.vhosts).ask({ dirr: 'x' } as { dir?: string }), /did you mean 'dir'/],
      [() => vhostTls(world.vhosts).ask({ dir: 1 } as unknown as { dir?: string }), /'dir' of ask\(\)/],
      ...['', '.', '/srv', '../static', 'a\0b'].map(
        dir => [() => vhostTls(world.vhosts).ask({ dir }), /'dir' of ask\(\): /] as [() => unknown, RegExp],
      ),
      ...[
        new Map(),
        Promise.resolve({}),
        [],
        new Date(),
        { ciphers: 'nonsense' },
        { minVersion: 'TLSv9' },
        { pfx: Buffer.from('x') },
      ].map(
        secureContext =>
          [() => vhostTls(world.vhosts, { secureContext } as VhostTlsOptions), /'secureContext'/] as [
            () => unknown,
            RegExp,
          ],
      ),
    ]
    for (const [call, message] of refused) assert.throws(call, { code: 'ERR_VHOST_OPTION', message })
    vhostTls(world.vhosts, { onError: undefined, secureContext: undefined }).ask({ dir: undefined })
    vhostTls(world.vhosts, { secureContext: { passphrase: 'of each key', minVersion: 'TLSv1.3' } })
  })
})

function half(pem: string): string {
  return pem.slice(0, pem.length / 2)
}

/** HTTP/2's compatibility API passes a request and a response, too. */
function asHandler(
  handler: Handler,
): (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => void {
  return handler as unknown as ReturnType<typeof asHandler>
}

/** An RSA key with arbitrary numbers instead of primes: OpenSSL takes just as long to sign with it. */
function rsaKey(bits: number): string {
  const number = (bits: number): bigint => {
    const bytes = randomBytes(bits / 8).fill(0xff, 0, 1)
    return BigInt(`0x${bytes.toString('hex')}`) | 1n
  }
  const [p, q] = [number(bits / 2), number(bits / 2)]
  const numbers = {
    n: p * q,
    e: 65_537n,
    d: number(bits),
    p,
    q,
    dp: number(bits / 2),
    dq: number(bits / 2),
    qi: p,
  }
  const entries = Object.entries(numbers).map(([name, value]) => {
    const hex = value.toString(16)
    return [name, Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url')]
  })
  const key = createPrivateKey({ format: 'jwk', key: { kty: 'RSA', ...Object.fromEntries(entries) } })
  return key.export({ type: 'pkcs1', format: 'pem' }) as string
}
