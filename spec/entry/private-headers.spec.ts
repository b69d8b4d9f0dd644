import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addPrivateHeaders, applyClient, type Client } from '../../lib/entry/private-headers.ts'
import type { VhostInfo } from '../../lib/index.ts'

type Mounted = IncomingMessage & { baseUrl?: string; originalUrl?: string; vhost?: VhostInfo }

function requestOf(url: string, more: Partial<Mounted> = {}): Mounted {
  return Object.assign(new IncomingMessage(new Socket()), { url }, more)
}

/** What the app's side makes of a request that the router has forwarded. */
function crossed(sent: Mounted, client: Client, between: readonly string[] = []): Mounted {
  const headers: string[] = []
  addPrivateHeaders(headers, sent, client)
  headers.push('Host', 'aries.test', ...between)
  const got = requestOf(sent.url as string)
  got.rawHeaders = headers
  for (let at = 0; at < headers.length; at += 2) {
    got.headers[(headers[at] as string).toLowerCase()] = headers[at + 1] as string
  }
  applyClient(got)
  return got
}

const CLIENT: Client = { address: '192.0.2.7', port: 4444, family: 'IPv4', isEncrypted: true }

describe('private headers', () => {
  it('tell the app its client, and are gone when the app sees the request', () => {
    const got = crossed(requestOf('/path'), CLIENT, ['Connection', 'keep-alive'])
    const { remoteAddress, remotePort, remoteFamily } = got.socket
    assert.deepEqual([remoteAddress, remotePort, remoteFamily], ['192.0.2.7', 4444, 'IPv4'])
    assert.equal((got.socket as { encrypted?: boolean }).encrypted, true)
    assert.deepEqual(got.rawHeaders, ['Host', 'aries.test', 'Connection', 'keep-alive'])
    assert.deepEqual(Object.keys(got.headers), ['host', 'connection'])
    assert.deepEqual([got.baseUrl, got.originalUrl], ['', '/path'])
  })

  it('of the next request on a connection replace those before', () => {
    const socket = new Socket()
    for (const [address, isEncrypted] of [
      ['192.0.2.1', true],
      [undefined, false],
      ['::1', true],
    ] as const) {
      const sent = requestOf('/')
      const headers: string[] = []
      addPrivateHeaders(headers, sent, { address, port: undefined, family: undefined, isEncrypted })
      const got = Object.assign(new IncomingMessage(socket), { url: '/', rawHeaders: headers })
      got.headers = { [headers[0] as string]: headers[1] }
      applyClient(got)
      assert.deepEqual(
        [socket.remoteAddress, socket.remotePort, (socket as { encrypted?: boolean }).encrypted],
        [address, undefined, isEncrypted],
      )
    }
  })

  it('carry any mount path, target and vhost unchanged', () => {
    const path = fc.webPath().map(text => text || '/')
    fc.assert(
      fc.property(
        path,
        path,
        fc.option(path, { nil: undefined }),
        fc.string(),
        (baseUrl, url, originalUrl, name) => {
          const vhost = Object.freeze({
            hostname: name,
            host: name,
            path: `/${name}`,
            realPath: `/${name}`,
            length: 0,
          })
          const sent = requestOf(url, { baseUrl, originalUrl: originalUrl ?? baseUrl + url, vhost })
          const got = crossed(sent, CLIENT)
          assert.deepEqual(got.vhost, vhost)
          assert.equal(got.baseUrl, baseUrl)
          assert.equal(got.originalUrl, sent.originalUrl)
        },
      ),
    )
  })
})
