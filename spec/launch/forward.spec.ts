import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import compression from 'compression'
import express, { type Express } from 'express'
import fc from 'fast-check'
import { answerRequests } from '../../lib/entry/answer-requests.ts'
import { createFront } from '../../lib/entry/front-server.ts'
import type { VhostError } from '../../lib/index.ts'
import { goneOf } from '../../lib/launch/client-gone.ts'
import { Forward } from '../../lib/launch/forward.ts'
import type { ForwardOptions } from '../../lib/launch/forward-options.ts'
import type { Handle, Upgrade } from '../../lib/launch/launch.ts'
import { refuseUpgrade } from '../../lib/upgrade/refuse-upgrade.ts'
import type { RoutedRequest } from '../../lib/vhost-info.ts'
import { eventually } from '../support/world.ts'

/** A stack frame, which would show where on this machine an error was made. */
const FRAME = /\n {4}at /

describe('Forward', () => {
  describe('what a client sends', () => {
    it('arrives: method, path with odd bytes, headers in their order and spelling, body', async () => {
      await using wall = await Wall.start((req, res) => {
        void bodyOf(req).then(body =>
          res.end(JSON.stringify([req.method, req.url, req.rawHeaders.slice(2, 8), body])),
        )
      })
      const answer = await wall.raw(
        'POST /a%2Fb?x="y"|{}&%ff HTTP/1.1\r\nHost: aries.test\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello',
      )
      assert.deepEqual(JSON.parse(bodyText(answer)), [
        'POST',
        '/a%2Fb?x="y"|{}&%ff',
        ['X-One', '1', 'x-two', '2', 'X-One', '3'],
        'hello',
      ])
    })

    for (const method of ['GET', 'DELETE', 'POST', 'OPTIONS']) {
      it(`arrives with ${method} and a body in chunks`, async () => {
        await using wall = await Wall.start(
          (req, res) => void bodyOf(req).then(body => res.end(`${req.method} ${body}`)),
        )
        const answer = await wall.raw(
          `${method} / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
        )
        assert.equal(bodyText(answer), `${method} hello`)
      })
    }

    it('arrives in each form that Node has for headers, and with nothing added', async () => {
      await using wall = await Wall.start((req, res) =>
        res.end(JSON.stringify([req.headersDistinct, req.headers])),
      )
      wall.before = req => Object.assign(req, { vhost: { hostname: 'a.test' } })
      const headers = { 'x-one': ['1', '2'], 'content-type': 'a/b' }
      const [distinct, joined] = JSON.parse((await wall.ask({ headers })).body)
      assert.deepEqual([distinct['x-one'], distinct['content-type']], [['1', '2'], ['a/b']])
      assert.deepEqual([joined['x-one'], joined['content-type']], ['1, 2', 'a/b'])
      assert.deepEqual(
        [distinct, joined].flatMap(Object.keys).filter(name => name.startsWith('x-express-van')),
        [],
      )
    })

    it('arrives without a body as such: nobody waits for one', async () => {
      await using wall = await Wall.start((req, res) => {
        void bodyOf(req).then(body => res.end(JSON.stringify([req.headers['content-length'], body])))
      })
      assert.equal((await wall.ask({ method: 'POST', headers: { 'content-length': 0 } })).body, '["0",""]')
      assert.equal(
        bodyText(await wall.raw('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')),
        '["0",""]',
      )
      assert.equal((await wall.ask({})).body, '[null,""]')
    })

    it('arrives with OPTIONS * and with a target in absolute form', async () => {
      await using wall = await Wall.start((req, res) => res.end(req.url))
      assert.equal(
        bodyText(await wall.raw('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')),
        '*',
      )
      const absolute = 'GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n'
      assert.equal(bodyText(await wall.raw(absolute)), 'http://a.test/x')
    })

    it('loses headers for one connection only, and those named by Connection, but never Host or Content-Length', async () => {
      await using wall = await Wall.start((req, res) => {
        void bodyOf(req).then(body => res.end(JSON.stringify([req.headers, body])))
      })
      const answer = await wall.raw(
        'POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Foo, Host, Content-Length\r\nX-Foo: 1\r\nKeep-Alive: 5\r\n' +
          'Proxy-Connection: keep-alive\r\nTE: trailers\r\nX-Bar: 2\r\nContent-Length: 2\r\n\r\nok',
      )
      const [headers, body] = JSON.parse(bodyText(answer))
      assert.equal(body, 'ok')
      assert.equal(headers['x-bar'], '2')
      assert.equal(headers.host, 'a.test')
      for (const name of ['x-foo', 'keep-alive', 'proxy-connection', 'te'])
        assert.equal(headers[name], undefined, name)
    })

    it('is asked to continue once with Expect: 100-continue', async () => {
      await using wall = await Wall.start((req, res) => {
        void bodyOf(req).then(body => res.end(`${req.headers.expect} ${body}`))
      })
      const answer = await wall.raw(
        'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
      )
      assert.equal(answer.match(/HTTP\/1\.1 100/g)?.length, 1)
      assert.match(answer, /undefined ok$/)
    })

    it('arrives with its trailers, but without a Trailer header if no trailers can follow', async () => {
      await using wall = await Wall.start((req, res) => {
        const { trailer } = req.headers
        req.resume().on('end', () => res.end(JSON.stringify([trailer, req.rawTrailers])))
      })
      const close = 'Host: a\r\nTrailer: X-Sum\r\nConnection: close\r\n'
      const chunks =
        'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Express-Van-Client: 1\r\nKeep-Alive: 9\r\n\r\n'
      const sent: [request: string, arrives: unknown][] = [
        [`POST / HTTP/1.1\r\n${close}${chunks}`, ['X-Sum', ['X-Sum', '42']]],
        [`POST / HTTP/1.1\r\n${close}Content-Length: 2\r\n\r\nok`, [null, []]],
        [`GET / HTTP/1.1\r\n${close}\r\n`, [null, []]],
      ]
      for (const [request, arrives] of sent)
        assert.deepEqual(JSON.parse(bodyText(await wall.raw(request))), arrives)
    })

    it('arrives with its head alone before there is a body', async () => {
      await using wall = await Wall.start((_, res) => void res.writeHead(413).end())
      const socket = await wall.connect()
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nX-CaSe: caf\u00e9\r\nContent-Length: 5\r\n\r\n', 'latin1')
      assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 413 /)
      socket.destroy()
    })

    it('arrives in order if one connection brings many requests at once, each in its own context', async () => {
      const context = new AsyncLocalStorage<string>()
      const seen: string[] = []
      let most = 0
      let now = 0
      await using wall = await Wall.start((req, res, next) => {
        most = Math.max(most, ++now)
        req.resume()
        setImmediate(() => {
          now--
          if (req.method === 'POST') next()
          else res.end(req.url)
        })
      })
      wall.around = (req, _, next) => context.run(String(req.url), next)
      wall.after = req => seen.push(`${req.url} ${context.getStore()}`)
      const asked = Array.from({ length: 30 }, (_, at) => `/${at}`)
      const requests = asked.map((path, at) =>
        at % 3 === 1
          ? `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`
          : `GET ${path} HTTP/1.1\r\nHost: a\r\n${at === 29 ? 'Connection: close\r\n' : ''}\r\n`,
      )
      const answer = await wall.raw(requests.join(''))
      const posted = asked.filter((_, at) => at % 3 === 1)
      assert.deepEqual(
        [...answer.matchAll(/(?<=\r\n\r\n)(?:\/\d+|nobody)/g)].map(String),
        asked.map(path => (posted.includes(path) ? 'nobody' : path)),
      )
      assert.deepEqual(
        seen,
        posted.map(path => `${path} ${path}`),
      )
      assert.equal(most, 1)
    })

    it('does not arrive with both a length and chunks', async () => {
      await using wall = await Wall.start((_, res) => void res.end('arrived'))
      const answer = await wall.raw(
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
      )
      assert.match(answer, /^HTTP\/1\.1 400 /)
      assert.equal(wall.atUpstream, 0)
    })

    it('does not arrive with both even if the lenient parser lets them pass: the chunks count', async () => {
      const seen: string[] = []
      await using wall = await Wall.start(
        (req, res) =>
          void bodyOf(req).then(body => {
            seen.push(`${req.url} ${req.headers['content-length']} ${body}`)
            res.end('arrived')
          }),
        {},
        undefined,
        { insecureHTTPParser: true },
      )
      const body = 'helloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
      const answer = await wall.raw(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      )
      assert.equal(bodyText(answer), 'arrived')
      assert.equal((await wall.ask({ path: '/next' })).status, 200)
      assert.deepEqual(seen, [`/ undefined ${body}`, '/next undefined '])
    })

    it('keeps its bytes beyond ASCII if the head goes alone', async () => {
      await using wall = await Wall.start((req, res) => {
        req.resume().on('end', () => res.end(req.headers['x-name']))
      })
      const socket = await wall.connect()
      const answer = bodyOf(socket)
      socket.write(
        'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Name: caf\u00e9\r\nContent-Length: 2\r\n\r\n',
        'latin1',
      )
      await eventually(() => wall.atUpstream === 1)
      socket.write('ok')
      assert.match(await answer, /caf\u00c3\u00a9$/)
    })

    it('is held back while the app does not read', async () => {
      await using wall = await Wall.start((req, res) => {
        setTimeout(() => void bodyOf(req).then(body => res.end(String(body.length))), 300)
      })
      const size = 64 * 2 ** 20
      const socket = await wall.connect()
      socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`)
      const piece = Buffer.alloc(2 ** 16, 'x')
      let sent = 0
      const answer = bodyOf(socket)
      for (; sent < size; sent += piece.length) if (!socket.write(piece)) await once(socket, 'drain')
      assert.match(await answer, new RegExp(`${size}$`))
    })
  })

  describe('what an app answers', () => {
    it('arrives: status and its message, repeated headers, their spelling, bytes beyond ASCII', async () => {
      await using wall = await Wall.start((_, res) => {
        res.writeHead(299, 'Very Well', [
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
          ['X-CaSe', 'caf\u00e9'],
          ['Link', '<a>'],
          ['Link', '<b>'],
        ] as never)
        res.end('ok')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /^HTTP\/1\.1 299 Very Well\r\n/)
      assert.match(
        answer,
        /Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-CaSe: caf\u00e9\r\nLink: <a>\r\nLink: <b>\r\n/,
      )
    })

    for (const size of [1, 4095, 4096, 4097]) {
      it(`arrives with the same bytes, ${size} at once`, async () => {
        const sent = patternOf(7, size)
        await using wall = await Wall.start((_, res) => {
          res.writeHead(200, { 'Content-Length': size, 'X-Name': 'caf\u00e9' }).end(sent)
        })
        const passed: unknown[] = []
        wall.before = (req, res) => {
          if (req.url !== '/watched') return
          const { end } = res
          res.end = ((...values: [Buffer]) => {
            passed.push(values[0])
            return end.apply(res, values as never)
          }) as never
        }
        const { headers, body } = await wall.ask({})
        assert.equal(body, sent.toString('latin1'))
        assert.equal(headers['x-name'], 'caf\u00e9')
        assert.equal((await wall.ask({ path: '/watched' })).body, body)
        assert.deepEqual(passed, [sent], 'a middleware around meets bytes')
      })
    }

    it('keeps all values of a repeated header beside those that the outer app has set', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Set-Cookie', ['a=1', 'b=2']).end()
      })
      wall.before = (_, res) => res.setHeader('X-Around', '1')
      const { headers } = await wall.ask({})
      assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2'])
      assert.equal(headers['x-around'], '1')
    })

    it('has no body for HEAD, 204 and 304, whatever length it states', async () => {
      await using wall = await Wall.start((req, res) => {
        const status = Number(req.url?.slice(1))
        res.writeHead(status, status === 204 ? {} : { 'content-length': 12, etag: '"x"' })
        res.end(status === 200 ? 'hello world!' : undefined)
      })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (let time = 0; time < 3; time++) {
        const head = await wall.ask({ method: 'HEAD', path: '/200', agent })
        assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '12', ''])
        const notModified = await wall.ask({ path: '/304', agent })
        assert.deepEqual([notModified.status, notModified.headers['content-length']], [304, '12'])
        assert.equal((await wall.ask({ path: '/204', agent })).status, 204)
        assert.equal((await wall.ask({ path: '/200', agent })).body, 'hello world!')
      }
      agent.destroy()
    })

    it('has trailers and early hints', async () => {
      await using wall = await Wall.start((_, res) => {
        res.writeEarlyHints({ link: '</a.css>; rel=preload' })
        res.setHeader('Trailer', 'X-Sum')
        res.write('body')
        res.addTrailers({ 'X-Sum': '42' })
        res.end()
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload\r\n/i)
      assert.match(answer, /\r\n0\r\nX-Sum: 42\r\n\r\n$/)
    })

    it('has early hints with several links, and none for a client of HTTP/1.0', async () => {
      const links = ['</a.css>; rel=preload', '</b.js>; rel=preload']
      await using wall = await Wall.start((_, res) => {
        res.writeEarlyHints({ link: links })
        res.end('body')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /^HTTP\/1\.1 103 Early Hints\r\n/)
      for (const link of links) assert.ok(answer.includes(link), answer)
      assert.match(await wall.raw('GET / HTTP/1.0\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 OK\r\n/)
    })

    it('has its valid early hints, despite others on which Node would hang', async () => {
      const [good, bad] = ['</a.css>; rel=preload; as="style"', `<b>${';a=a'.repeat(100)}"`]
      await using wall = await Wall.start((_, res) => {
        res.socket?.write(`HTTP/1.1 103 Early Hints\r\nLink: ${bad}, ${good}\r\n\r\n`)
        res.end('body')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.ok(
        answer.startsWith(`HTTP/1.1 103 Early Hints\r\nLink: ${good}\r\n\r\nHTTP/1.1 200 OK\r\n`),
        answer,
      )
    })

    it('has early hints with other headers than links, without those of one connection', async () => {
      await using wall = await Wall.start((_, res) => {
        res.socket?.write(
          'HTTP/1.1 103 Early Hints\r\nX-Trace: 1\r\nLink: </a.css>; rel=preload\r\nx-trace: 2\r\nConnection: a\r\n\r\n',
        )
        res.end('body')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      const [, hints] = /^HTTP\/1\.1 103 Early Hints\r\n(.*?)\r\n\r\nHTTP\/1\.1 200 /s.exec(answer) ?? []
      assert.deepEqual(hints?.split('\r\n').sort(), ['Link: </a.css>; rel=preload', 'x-trace: 1, 2'])
    })

    it('has other interim answers as far as Node writes them, and 100 once', async () => {
      await using wall = await Wall.start((_, res) => {
        res.writeContinue()
        res.writeProcessing()
        res.socket?.write('HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /1\r\n\r\n')
        res.end('body')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      const heads = answer.split('\r\n\r\n').map(head => head.replace(/^HTTP\/1\.1 (\d+) .*?(\r\n|$)/, '$1 '))
      const isAble = 'writeInformation' in http.ServerResponse.prototype
      assert.deepEqual(heads.slice(0, -2), ['102 ', ...(isAble ? ['104 Location: /1'] : [])])
      assert.match(await wall.raw('GET / HTTP/1.0\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 OK\r\n/)
    })

    it('is malformed after a thousand interim answers, which would hold everything up', async () => {
      await using wall = await Wall.start(
        (_, res) => {
          res.socket?.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1001))
          res.end('body')
        },
        {},
        (_, socket) => {
          socket.on('error', () => {}).on('end', () => socket.destroy())
          socket.resume().write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1001))
        },
      )
      assert.equal((await wall.ask({})).status, 502)
      assert.match(String((wall.errors[0] as VhostError).cause), /more than 1000 interim answers/)
      // If anything of the same read were passed on, the connection would be cut for it.
      const two = await wall.raw(
        'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      )
      assert.equal(two.split('HTTP/1.1 502 ').length - 1, 2, two)
      const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n'
      assert.match(await wall.raw(upgrade), /^HTTP\/1\.1 502 /)
    })

    it('has no more early hints than fit in memory, however many the app sends', async () => {
      const hint = `HTTP/1.1 103 Early Hints\r\nLink: <${'a'.repeat(1000)}>\r\n\r\n`
      await using wall = await Wall.start((_, res) => {
        res.socket?.write(hint.repeat(1000))
        res.end('body')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.equal(answer.split('HTTP/1.1 103 ').length - 1, 65)
      assert.match(answer, /HTTP\/1\.1 200 OK\r\n/)
    })

    for (const size of [4, 10_000]) {
      it(`has its hints in front of it when it waits for the answer before, ${size} bytes`, async () => {
        await using wall = await Wall.start((req, res) => {
          if (req.url === '/slow') return void setTimeout(() => res.end('slow'), 50)
          if (req.url === '/hints') res.writeEarlyHints({ link: '</a.css>; rel=preload' })
          req.resume()
          if (req.url === '/hints') res.setHeader('Content-Length', size)
          setImmediate(() => res.end(Buffer.alloc(size, 'x')))
        })
        const slow = 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n'
        const [hints, expect] = await Promise.all([
          wall.raw(`${slow}GET /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`),
          wall.raw(
            `${slow}POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`,
          ),
        ])
        assert.match(hints, /slowHTTP\/1\.1 103 .*\r\n\r\nHTTP\/1\.1 200 .*\r\n\r\nx+$/s)
        assert.match(expect, /slowHTTP\/1\.1 100 .*\r\n\r\nHTTP\/1\.1 200 /s)
      })
    }

    it('is sent without trailers or chunks to a client of HTTP/1.0', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Trailer', 'X-Sum')
        res.write('body')
        res.addTrailers({ 'X-Sum': '42' })
        res.end()
      })
      const answer = await wall.raw('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
      assert.doesNotMatch(answer, /chunked|Trailer/i)
      assert.match(answer, /\r\n\r\nbody$/)
    })

    for (const status of ['204 No Content', '304 Not Modified']) {
      it(`is ${status} although it announces trailers, which cannot follow`, async () => {
        await using wall = await Wall.start(req => {
          req.socket.end(`HTTP/1.1 ${status}\r\nTrailer: x\r\n\r\n`)
        })
        assert.equal((await wall.ask({})).status, Number.parseInt(status, 10))
      })
    }

    it('has no body where none is allowed, whatever the server makes of it', async () => {
      await using wall = await Wall.start(
        (req, res) => res.writeHead(Number(req.url?.slice(1))).end(),
        {},
        undefined,
        { rejectNonStandardBodyWrites: true },
      )
      assert.equal((await wall.ask({ path: '/204' })).status, 204)
      assert.equal((await wall.ask({ path: '/304' })).status, 304)
      assert.equal((await wall.ask({ path: '/200', method: 'HEAD' })).status, 200)
    })

    it('is an error if a middleware around refuses to begin it, and does not end the process', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/chunk') res.end('body')
        else res.flushHeaders()
      })
      wall.before = (_, res) => {
        const { writeHead } = res
        res.writeHead = () => {
          Object.assign(res, { writeHead })
          throw new Error('refused')
        }
      }
      assert.equal((await wall.ask({ path: '/chunk' })).status, 502)
      assert.equal((await wall.ask({ path: '/head' })).status, 502)
      assert.deepEqual(
        wall.errors.map(error => ((error as Error).cause as Error).message),
        ['refused', 'refused'],
      )
    })

    it('is over if a middleware around refuses to begin it, whatever else of it has already come', async () => {
      await using wall = await Wall.start(req => {
        req.socket.end(
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n',
        )
      })
      wall.before = (_, res) => {
        const { writeHead } = res
        res.writeHead = () => {
          Object.assign(res, { writeHead })
          throw new Error('refused')
        }
      }
      const { status, body } = await wall.ask({})
      assert.deepEqual([status, body, wall.errors.length], [502, '', 1])
    })

    it('adds to the cookies and the Vary header that were set before', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Set-Cookie', ['app=1', 'app=2']).setHeader('vary', 'Cookie')
        res.setHeader('X-Own', 'app').end()
      })
      wall.before = (_, res) => {
        res
          .setHeader('Set-Cookie', 'outer=1')
          .setHeader('Vary', 'Accept-Encoding')
          .setHeader('X-Own', 'outer')
      }
      const { headers } = await wall.ask({})
      assert.deepEqual(headers['set-cookie'], ['outer=1', 'app=1', 'app=2'])
      assert.equal(headers.vary, 'Accept-Encoding, Cookie')
      assert.equal(headers['x-own'], 'app')
    })

    it('may have nearly two thousand headers, of any size', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('X-Long', 'x'.repeat(200_000))
        for (let i = 0; i < 1990; i++) res.setHeader(`x-${i}`, '')
        res.setHeader('X-Last', '1').end()
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /\r\nX-Long: x{200000}\r\n/)
      assert.match(answer, /\r\nX-Last: 1\r\n/)
    })

    for (const count of [2001, 150_000]) {
      it(`is malformed with ${count} headers, which would hold everything up`, async () => {
        await using wall = await Wall.start((_, res) => {
          const fields = Array.from({ length: count - 1 }, (_, at) => `${at.toString(36)}:\r\n`)
          res.socket?.write(`HTTP/1.1 200 OK\r\n${fields.join('')}Content-Length: 0\r\n\r\n`)
        })
        assert.equal((await wall.ask({})).status, 502)
        assert.match(String((wall.errors[0] as VhostError).cause), /more than 2000 headers/)
      })
    }

    it('may say with 426 to which protocol to change, but with no other status', async () => {
      await using wall = await Wall.start((req, res) => {
        const headers = { Upgrade: 'websocket', Connection: 'Upgrade, X-Foo', 'X-Foo': '1' }
        res.writeHead(Number(req.url?.slice(1)), headers).end()
      })
      for (const [status, upgrade] of [
        [426, 'websocket'],
        [400, undefined],
      ]) {
        const answer = await wall.ask({ path: `/${status}` })
        assert.deepEqual([answer.status, answer.headers.upgrade], [status, upgrade])
        assert.equal(answer.headers['x-foo'], undefined)
      }
    })

    it('loses headers for one connection only', async () => {
      await using wall = await Wall.start((_, res) => {
        res
          .setHeader('Connection', 'close, X-Foo')
          .setHeader('X-Foo', '1')
          .setHeader('Keep-Alive', 'timeout=1')
        res.setHeader('X-Express-Van-Secret', '1').end('ok')
      })
      const { headers } = await wall.ask({ agent: new http.Agent({ keepAlive: true }) })
      assert.equal(headers['x-foo'], undefined)
      assert.equal(headers['x-express-van-secret'], undefined)
      assert.notEqual(headers['keep-alive'], 'timeout=1')
    })

    it('begins before its body does, so that an event stream opens', async () => {
      await using wall = await Wall.start((_, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        setTimeout(() => res.write('data: 1\n\n'), 50)
      })
      const request = http.get({ port: wall.port, agent: false })
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      const [chunk] = await once(response, 'data')
      assert.equal(String(chunk), 'data: 1\n\n')
      request.destroy()
      await eventually(() => wall.upstreamAborts === 1)
    })

    it('keeps its bytes beyond ASCII if the head goes alone', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('X-Name', 'caf\u00e9').write('some')
        setTimeout(() => res.end(), 20)
      })
      await using slow = await Wall.start((req, res) => {
        // Sends the head first, as other servers do, but not the private server of express-van.
        req.socket.write('HTTP/1.1 200 OK\r\nX-Name: caf\u00e9\r\nContent-Length: 2\r\n\r\n', 'latin1')
        setTimeout(() => req.socket.write('ok'), 50)
        res.on('error', () => {})
      })
      for (const one of [wall, slow]) {
        const answer = await one.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        assert.match(answer, /\r\nX-Name: caf\u00e9\r\n/)
      }
    })

    it('keeps a file name beyond ASCII, as a download by Express has it', async () => {
      const disposition = 'attachment; filename="K\u00e4se.txt"'
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Content-Disposition', disposition).setHeader('Content-Length', 4)
        res.write(Buffer.from('some'))
        res.end()
      })
      assert.equal((await wall.ask({})).headers['content-disposition'], disposition)
    })

    it('is complete when it comes in pieces, of a known length or not', async () => {
      await using wall = await Wall.start((req, res) => {
        const [, pieces = '', known] = (req.url ?? '').split('/')
        if (known) res.setHeader('Content-Length', 10 * Number(pieces))
        let left = Number(pieces)
        const next = (): void => {
          if (left-- === 0) res.end()
          else res.write('0123456789', () => setImmediate(next))
        }
        next()
      })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (const path of ['/0/known', '/1/known', '/7/known', '/0', '/1', '/7', '/7/known']) {
        const length = 10 * Number(path.split('/')[1])
        assert.equal((await wall.ask({ path, agent })).body.length, length, path)
      }
      agent.destroy()
    })

    it('leaves nothing behind on a connection that brings one request after another', async () => {
      await using wall = await Wall.start((req, res) => void bodyOf(req).then(body => res.end(body)))
      const gone = new Set<object | undefined>()
      wall.before = req => gone.add(goneOf(req))
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (const body of ['one', 'two', '', 'x'.repeat(100_000)]) {
        assert.equal((await wall.ask({ method: 'POST', agent, body })).body, body)
      }
      await eventually(() => assert.deepEqual([...gone], [new Set()]))
      agent.destroy()
    })

    it('loses a Trailer header next to a length', async () => {
      await using wall = await Wall.start(req => {
        req.socket.write('HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 2\r\n\r\nok')
      })
      const { status, headers, body } = await wall.ask({})
      assert.deepEqual([status, headers.trailer, body], [200, undefined, 'ok'])
    })

    it('that never comes holds up nobody else', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url !== '/never') res.end('ok')
      })
      const waiting = await wall.connect()
      waiting.write('GET /never HTTP/1.1\r\nHost: a\r\n\r\n')
      await eventually(() => wall.atUpstream === 1)
      for (let time = 0; time < 20; time++) assert.equal((await wall.ask({})).body, 'ok')
      waiting.destroy()
      await eventually(() => wall.upstreamAborts === 1)
    })

    it('is held back while the client does not read', async () => {
      let written = 0
      await using wall = await Wall.start((_, res) => {
        const piece = Buffer.alloc(2 ** 16)
        const write = (): void => {
          while (written < 2 ** 28) {
            written += piece.length
            if (!res.write(piece)) {
              res.once('drain', write)
              return
            }
          }
          res.end()
        }
        write()
      })
      const socket = await wall.connect()
      socket.pause()
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      let before = -1
      await eventually(async () => {
        const isStill = written > 0 && written === before
        before = written
        await delay(50)
        return isStill
      })
      assert.ok(written < 2 ** 26, `${written} bytes are under way`)
      socket.destroy()
      await eventually(() => wall.upstreamAborts === 1)
    })
  })

  describe('the memory of bodies', () => {
    it('is separate for each, however many are under way, fast and slow', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/cut') req.once('data', () => req.socket.destroy())
        else req.pipe(res)
      })
      const echo = async (seed: number): Promise<void> => {
        const sent = patternOf(seed, 1 + ((seed * 7919) % 300_000))
        const request = http.request({ port: wall.port, host: '127.0.0.1', agent: false, method: 'POST' })
        request.end(sent)
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        const received: Buffer[] = []
        for await (const chunk of response) {
          received.push(chunk as Buffer)
          if (seed % 3 === 0) await delay(1)
        }
        assert.ok(Buffer.concat(received).equals(sent), `body ${seed} is not as it was sent`)
      }
      const cut = async (): Promise<void> => {
        const request = http.request({ port: wall.port, agent: false, method: 'POST', path: '/cut' })
        request.on('error', () => {})
        request.end(Buffer.alloc(200_000, 'cut'))
        await once(request, 'close')
      }
      for (let round = 0; round < 4; round++) {
        const seeds = Array.from({ length: 30 }, (_, at) => round * 30 + at)
        await Promise.all(seeds.map(seed => (seed % 10 === 9 ? cut() : echo(seed))))
      }
    })

    const isKept = { skip: 'transfer' in ArrayBuffer.prototype ? false : 'this Node cannot give back' }
    it('is given back once it is written', isKept, async () => {
      await using wall = await Wall.start((req, res) => void req.pipe(res))
      const written: Buffer[] = []
      const record = (socket: Socket): void => {
        const { write } = socket
        socket.write = (...[chunk, ...rest]: unknown[]) => {
          if (Buffer.isBuffer(chunk) && chunk.length > 10_000) written.push(chunk)
          return write.call(socket, chunk as Buffer, ...(rest as []))
        }
      }
      wall.before = req => record(req.socket)
      const body = 'b'.repeat(400_000)
      assert.equal((await wall.ask({ method: 'POST', body })).body, body)
      assert.notEqual(written.length, 0)
      await eventually(() => written.every(({ length }) => length === 0))
    })

    it('is left to others who see the body of a request or an answer', async () => {
      await using wall = await Wall.start((req, res) => void req.pipe(res))
      const kept: { [kind: string]: Buffer[] } = { read: [], piped: [], unshifted: [], answered: [] }
      wall.around = (req, res, next) => {
        const how = String(req.url).slice(1)
        if (how === 'read') req.on('data', (chunk: Buffer) => kept.read?.push(chunk))
        if (how === 'piped') req.pipe(new PassThrough()).on('data', chunk => kept.piped?.push(chunk))
        if (how === 'answered') {
          for (const name of ['write', 'end'] as const) {
            const original = res[name]
            res[name] = ((...args: unknown[]) => {
              if (Buffer.isBuffer(args[0])) kept.answered?.push(args[0])
              return Reflect.apply(original, res, args)
            }) as never
          }
        }
        if (how !== 'unshifted') return next()
        req.once('readable', () => {
          const chunk = req.read() as Buffer
          kept.unshifted?.push(chunk)
          req.unshift(chunk)
          next()
        })
      }
      const body = 'b'.repeat(100_000)
      for (const [how, chunks] of Object.entries(kept)) {
        assert.equal((await wall.ask({ path: `/${how}`, method: 'POST', body })).body, body)
        const whole = Buffer.concat(chunks).toString()
        if (how === 'unshifted') assert.ok(whole !== '' && body.startsWith(whole), how)
        else assert.equal(whole, body, how)
      }
    })

    for (const [how, listen] of [
      ['listens once', (req, keep) => req.once('data', keep)],
      [
        'listens first, and once',
        (req, keep) => process.nextTick(() => req.prependOnceListener('data', keep)),
      ],
      [
        'listens first, and once for each chunk, when it already flows',
        (req, keep) => {
          const listen = (): void => {
            req.prependOnceListener('data', chunk => {
              keep(chunk)
              process.nextTick(listen)
            })
          }
          req.once('resume', listen)
        },
      ],
      [
        'reads once',
        (req, keep) =>
          req.once('readable', () => {
            const chunk = req.read() as Buffer | null
            if (chunk) keep(chunk)
          }),
      ],
      [
        'has put an emit of its own there',
        (req, keep) => {
          const { emit } = req
          req.emit = ((event: string, chunk: Buffer) => {
            if (event === 'data') keep(chunk)
            return emit.call(req, event, chunk)
          }) as never
        },
      ],
    ] as [string, (req: IncomingMessage, keep: (chunk: Buffer) => void) => void][]) {
      it(`is left to a middleware that ${how}`, async () => {
        await using wall = await Wall.start((req, res) => void req.resume().on('end', () => res.end('ok')))
        const kept: { chunk: Buffer; length: number }[] = []
        wall.before = req => listen(req, chunk => kept.push({ chunk, length: chunk.length }))
        await wall.ask({ method: 'POST', body: 'b'.repeat(400_000) })
        assert.notEqual(kept.length, 0)
        for (const { chunk, length } of kept) assert.equal(chunk.length, length)
      })
    }

    it('is written as text if a middleware has set an encoding on the request', async () => {
      await using wall = await Wall.start((req, res) => void req.pipe(res))
      wall.before = req => req.setEncoding('latin1')
      for (const length of [100, 9000, 300_000]) {
        const sent = Buffer.alloc(length, '\xff\0b', 'latin1')
        const request = http.request({ port: wall.port, agent: false, method: 'POST' })
        request.end(sent)
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        assert.equal(await bodyOf(response), sent.toString('latin1'))
      }
    })

    const observers: Record<
      string,
      (listen: (answer: IncomingMessage) => void) => [string, ChannelListener]
    > = {
      before: listen => [
        'http.client.response.finish',
        message => listen((message as { response: IncomingMessage }).response),
      ],
      after: listen => [
        'http.client.request.start',
        message => (message as { request: http.ClientRequest }).request.on('response', listen),
      ],
    }
    for (const [when, observe] of Object.entries(observers)) {
      it(`is left to those who observe all answers, and listened ${when} the router`, async () => {
        await using wall = await Wall.start((req, res) => {
          const size = Number(req.url?.slice(1))
          if (req.headers['x-pieces']) res.write(patternOf(1, size))
          else res.setHeader('Content-Length', size)
          setImmediate(() => res.end(patternOf(1, size)))
        })
        let kept: { chunk: Buffer; copy: Buffer }[] = []
        const [channel, tell] = observe(answer => {
          if (answer.headers['x-observed']) return
          answer.on('data', chunk => kept.push({ chunk, copy: Buffer.from(chunk) }))
        })
        wall.before = (_, res) => res.setHeader('X-Observed', '1')
        subscribe(channel, tell)
        try {
          for (const size of [1, 5000, 70_000]) {
            for (const headers of [{}, { 'x-pieces': '1' }]) {
              kept = []
              const { body } = await wall.ask({ path: `/${size}`, headers })
              const expected = patternOf(1, size).toString('latin1')
              assert.equal(body, 'x-pieces' in headers ? expected + expected : expected)
              assert.equal(Buffer.concat(kept.map(({ copy }) => copy)).toString('latin1'), body)
              for (const { chunk, copy } of kept) assert.deepEqual(chunk, copy)
            }
          }
        } finally {
          unsubscribe(channel, tell)
        }
      })
    }

    it('shown by an error is no longer in the buffer of the next answer', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/bad') req.socket.write('no HTTP of tenant one')
        else res.end('the answer of tenant two, which is longer than that')
      })
      assert.equal((await wall.ask({ path: '/bad' })).status, 502)
      await wall.ask({})
      const { cause } = wall.errors[0] as { cause: { rawPacket: Buffer } }
      assert.equal(String(cause.rawPacket), 'no HTTP of tenant one')
    })
  })

  describe('what goes wrong', () => {
    for (const [what, path] of [
      ['before the answer', '/early'],
      ['in the middle of the answer', '/late'],
      ['in the middle of an upload', '/upload'],
    ] as const) {
      it(`a client that leaves ${what} is gone for the app, too`, async () => {
        await using wall = await Wall.start((req, res) => {
          if (req.url === '/late') res.write('some')
          req.resume()
        })
        const socket = await wall.connect()
        const length = path === '/upload' ? 'Content-Length: 10\r\n' : ''
        socket.write(
          `${length ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nHost: a\r\n${length}\r\n${length && 'some'}`,
        )
        await eventually(() => wall.atUpstream === 1)
        socket.destroy()
        await eventually(() => wall.upstreamAborts === 1)
      })
    }

    it('an app that breaks off before its answer causes 502', async () => {
      await using wall = await Wall.start(req => req.socket.destroy())
      assert.equal((await wall.ask({ method: 'POST' })).status, 502)
      assert.equal((await wall.ask({})).status, 502)
      assert.deepEqual(
        wall.errors.map(error => (error as VhostError).code),
        ['ERR_VHOST_CRASHED', 'ERR_VHOST_CRASHED'],
      )
    })

    it('a slow client makes the app wait, whatever compresses in between', async () => {
      const [piece, most] = [randomBytes(64 * 1024), 64 * 2 ** 20]
      let sent = 0
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Content-Type', 'text/plain')
        const send = (): void => {
          while (sent < most && !res.destroyed) {
            sent += piece.length
            if (!res.write(piece)) return void res.once('drain', send)
          }
        }
        send()
      })
      const compress = compression({ level: 1 })
      wall.around = (req, res, next) => compress(req as express.Request, res as express.Response, next)
      const socket = await wall.connect()
      socket.pause()
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n')
      let before = -1
      await eventually(async () => {
        const stands = sent > 0 && sent === before
        before = sent
        await delay(200)
        return stands
      })
      assert.ok(sent < most / 2, `${sent} bytes`)
      socket.destroy()
    })

    it('adds no listener each time it waits for a middleware around that compresses it', async () => {
      const piece = randomBytes(64 * 1024)
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Content-Type', 'text/plain')
        Readable.from(Array.from({ length: 100 }, () => piece)).pipe(res)
      })
      const compress = compression({ level: 1 })
      let listeners = 0
      wall.around = (req, res, next) => {
        compress(req as express.Request, res as express.Response, next)
        // Put in its place after the middleware, which passes them to its own stream.
        const { on } = res
        Object.assign(res, {
          on: (event: string, listener: () => void) => {
            if (event === 'drain') listeners++
            return on.call(res, event, listener)
          },
        })
      }
      const request = http.get({ port: wall.port, agent: false, headers: { 'Accept-Encoding': 'gzip' } })
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      const { length } = await buffer(response.pipe(createGunzip()))
      assert.equal(length, 100 * piece.length)
      assert.equal(listeners, 1)
    })

    it('arrives when the app pauses, although a middleware around compresses it', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('Content-Type', 'text/event-stream')
        res.write('data: 1\n\n')
      })
      const compress = compression()
      wall.around = (req, res, next) => compress(req as express.Request, res as express.Response, next)
      const request = http.get({ port: wall.port, agent: false, headers: { 'Accept-Encoding': 'gzip' } })
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      assert.equal(response.headers['content-encoding'], 'gzip')
      let text = ''
      response.pipe(createGunzip()).on('data', data => {
        text += data
      })
      await eventually(() => assert.equal(text, 'data: 1\n\n'))
      request.destroy()
    })

    it('an app that breaks off within its answer leaves it visibly cut', async () => {
      await using wall = await Wall.start((req, res) => {
        res.write('some')
        setTimeout(() => req.socket.destroy(), 20)
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /4\r\nsome\r\n$/)
    })

    it('an answer with both a length and chunks is malformed', async () => {
      await using wall = await Wall.start(req => {
        req.socket.end(
          'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
        )
      })
      assert.equal((await wall.ask({})).status, 502)
    })

    it('an answer that is not HTTP, or has bytes not allowed in headers, is malformed', async () => {
      await using wall = await Wall.start(req => {
        req.socket.end(
          req.url === '/a' ? 'SSH-2.0\r\n\r\n' : 'HTTP/1.1 200 OK\r\nX: a\u0001b\r\n\r\n',
          'latin1',
        )
      })
      for (const path of ['/a', '/b']) assert.equal((await wall.ask({ path })).status, 502, path)
    })

    it('bytes beyond the stated length do not reach the client', async () => {
      await using wall = await Wall.start(req => {
        req.socket.write(
          'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nX-Evil: 1\r\n\r\n',
        )
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /\r\n\r\nhello$/)
    })

    const rest = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
    const overlong: Record<string, (res: ServerResponse) => void> = {
      'in one write': res => void res.setHeader('Content-Length', 5).end(`hello${rest}`),
      'a moment later': res => {
        res.writeHead(200, { 'Content-Length': 5 }).write('hello')
        setTimeout(() => res.end(rest), 20)
      },
      'in the midst of a write, and in more': res => {
        res.setHeader('Content-Length', '5').write(Buffer.from('hel'))
        setTimeout(() => {
          res.write(`lo${rest}`, 'latin1', () => res.write(Buffer.from(rest), () => res.end(rest)))
        }, 20)
      },
      'by the letters that it counts': res => {
        res.setHeader('Content-Length', 5).write('68656c6c6f', 'hex')
        setTimeout(() => res.end('\u00e4\u00e4', () => {}), 20)
      },
      'with an app of Express': res => {
        const app = express().use((_, own) => {
          own.set('Content-Length', '5').write('hello')
          setTimeout(() => own.end(rest), 20)
        })
        app(res.req, res)
      },
    }
    for (const [how, answer] of Object.entries(overlong)) {
      it(`what an answer has beyond its length, ${how}, reaches nobody else`, async () => {
        await using wall = await Wall.start((req, res) => {
          if (req.url === '/long') answer(res)
          else setTimeout(() => res.end(req.url), 5)
        })
        for (let time = 0; time < 5; time++) {
          assert.equal((await wall.ask({ path: '/long' })).body, 'hello')
          for (let other = 0; other < 8; other++) {
            const { status, body } = await wall.ask({ path: `/${other}` })
            assert.deepEqual([status, body], [200, `/${other}`])
          }
        }
      })
    }

    const lateLength = (res: ServerResponse, rest: string): void => {
      const { writeHead } = res
      // As the package on-headers does.
      res.writeHead = (...values: unknown[]) => {
        res.setHeader('Content-Length', 10)
        return Reflect.apply(writeHead, res, values)
      }
      res.write('hel')
      res.end(rest)
    }
    const short: Record<string, (res: ServerResponse) => void> = {
      'in one write': res => void res.setHeader('Content-Length', 10).end('hello'),
      'in two': res => {
        res.writeHead(200, { 'Content-Length': '10' }).write(Buffer.from('he'))
        setTimeout(() => res.end('llo', () => {}), 20)
      },
      'with a length that came after its first bytes': res => lateLength(res, 'lo'),
    }
    for (const [how, answer] of Object.entries(short)) {
      it(`an answer that ends before its length, ${how}, is visibly cut`, async () => {
        await using wall = await Wall.start((_, res) => answer(res))
        const text = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        assert.match(text, /content-length: 10\r\n.*\r\n\r\nhello$/is)
      })
    }

    it('an answer with the status of an interim answer is 502', async () => {
      await using wall = await Wall.start((_, res) => void res.writeHead(199).end())
      assert.match(
        await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
        /(^|\r\n)HTTP\/1\.1 502 /,
      )
    })

    it('an answer that is complete, or can have no body, closes no connection, whenever it stated its length', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/late') lateLength(res, 'lo, you')
        else res.writeHead(req.url === '/304' ? 304 : 200, { 'Content-Length': 10 }).end()
      })
      assert.equal((await wall.ask({ path: '/late' })).body, 'hello, you')
      for (const options of [{ method: 'HEAD' }, { path: '/304' }]) await wall.ask(options)
      assert.equal(await wall.connections(), 1)
    })

    it('an early answer to an upload arrives, forty times', async () => {
      await using wall = await Wall.start((_, res) => void res.writeHead(413).end('too much'))
      const body = Buffer.alloc(5 * 2 ** 20)
      for (let time = 0; time < 40; time++) {
        const request = http.request({
          port: wall.port,
          method: 'POST',
          agent: false,
          headers: { 'content-length': body.length },
        })
        request.on('error', () => {})
        request.end(body)
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        assert.equal(response.statusCode, 413)
        request.destroy()
      }
    })

    it('after an early answer the upload goes on, and the connection can be reused', async () => {
      const lengths: number[] = []
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/reads') void bodyOf(req).then(({ length }) => lengths.push(length))
        res.end(req.method)
      })
      const size = 8 * 2 ** 20
      const socket = await wall.connect()
      let received = ''
      socket.setEncoding('latin1').on('data', data => {
        received += data
      })
      for (const path of ['/', '/reads', '/']) {
        socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
        await eventually(() => received.endsWith('POST'))
        received = ''
        socket.write(Buffer.alloc(size, 'x'))
        for (let time = 0; time < 3; time++) assert.equal((await wall.ask({})).body, 'GET')
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        await eventually(() => received.endsWith('GET'))
      }
      socket.destroy()
      assert.deepEqual(lengths, [size])
    })

    it('a client that leaves during its upload after the early answer leaves no connection behind', async () => {
      await using wall = await Wall.start((_, res) => void res.end('early'))
      const before = await wall.connections()
      for (let time = 0; time < 20; time++) {
        const socket = await wall.connect()
        socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome')
        await once(socket, 'data')
        socket.destroy()
      }
      await eventually(async () => (await wall.connections()) <= before + 1)
    })

    it('an early answer with Connection: close arrives before the upload finds the connection closed', async () => {
      let upload: IncomingMessage | undefined
      await using wall = await Wall.start((req, res) => {
        req.socket.once('close', () => upload?.push('more'))
        res.writeHead(401, { connection: 'close' }).end('who are you')
      })
      wall.before = req => {
        upload = req
      }
      for (const size of [2000, 150_000]) {
        const socket = await wall.connect()
        socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${2 * size}\r\n\r\n${'x'.repeat(size)}`)
        assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 401 /)
        await eventually(async () => (await wall.connections()) === 0)
        socket.destroy()
      }
    })

    for (const [how, path, left] of [
      ['with Connection: close', '/close', 0],
      ['by next()', '/next', 1],
    ] as const) {
      it(`an answer ${how} to a complete upload leaves its connection to the router, which may still send the end`, async () => {
        let isEndedByApp: boolean | undefined
        await using wall = await Wall.start((req, res, next) => {
          res.once('finish', () => {
            isEndedByApp = req.socket.writableEnded
          })
          req.resume().once('end', () => {
            if (req.url === '/next') next()
            else res.writeHead(200, { connection: 'close' }).end('all')
          })
        })
        const { status } = await wall.ask({ method: 'POST', body: 'some', path })
        assert.deepEqual([status, isEndedByApp], [path === '/next' ? 404 : 200, false])
        await eventually(async () => (await wall.connections()) === left)
      })
    }

    it('an early answer that ends with its connection does end', async () => {
      await using wall = await Wall.start((_, res) => {
        res.removeHeader('Transfer-Encoding')
        res.write('some ')
        res.end('more')
      })
      const { status, body } = await wall.ask({ method: 'POST', body: 'x' })
      assert.deepEqual([status, body], [200, 'some more'])
    })

    it('an upload that the app breaks off does not hold up the next request of its client', async () => {
      const breakOff = (req: IncomingMessage, res: ServerResponse): void => {
        if (req.method === 'GET') res.end('well')
        else req.once('data', () => req.socket.destroy())
      }
      await using wall = await Wall.start(breakOff, {}, undefined, { keepAliveTimeout: 60_000 })
      const size = 8 * 2 ** 20
      const socket = await wall.connect()
      let received = ''
      socket.setEncoding('latin1').on('data', data => {
        received += data
      })
      socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
      socket.write(Buffer.alloc(size, 'x'))
      await eventually(() => received.startsWith('HTTP/1.1 502 '))
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      await eventually(() => received.endsWith('well'))
      socket.destroy()
    })

    it('a body that an app leaves half read holds up nobody else, and no connection', async () => {
      let received = ''
      const half = (req: IncomingMessage, res: ServerResponse): void => {
        if (req.method === 'GET') return void res.end('well')
        req.once('data', chunk => {
          res.writeHead(413).end('too much')
          if (req.url === '/half') return void req.pause()
          received += chunk
          req.on('data', more => {
            received += more
          })
        })
      }
      await using wall = await Wall.start(half, {}, undefined, { keepAliveTimeout: 60_000 })
      const upload = async (path: string, length: number, body: string): Promise<Socket> => {
        const socket = await wall.connect()
        socket.on('error', () => {})
        socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${body}`)
        assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 413 /)
        return socket
      }
      const slow = await upload('/all', 8, 'some')
      const clients: Socket[] = []
      for (const size of [150_000, 300_000, 3_000_000]) {
        for (let time = 0; time < 3; time++) {
          clients.push(await upload('/half', size, 'x'.repeat(size)))
          assert.equal((await wall.ask({ signal: AbortSignal.timeout(3000) })).body, 'well')
        }
      }
      // Besides the connection of the slow upload, two or three wait for requests; otherwise each upload would have
      // kept its own.
      await eventually(async () => (await wall.connections()) <= 4)
      await eventually(() => clients.every(({ writableLength }) => writableLength === 0))
      slow.write('more')
      await eventually(() => received === 'somemore')
      for (const socket of [slow, ...clients]) socket.destroy()
    })

    it('an app that reads on slowly after its answer gets everything, and holds up nobody else', async () => {
      let [length, isOver] = [0, false]
      let goOn = (): void => {}
      const gate = new Promise<void>(resolve => {
        goOn = resolve
      })
      const read = async (req: IncomingMessage): Promise<void> => {
        for await (const chunk of req) {
          length += chunk.length
          await gate
        }
        isOver = true
      }
      await using wall = await Wall.start((req, res) => {
        res.end('early')
        if (req.method === 'POST') void read(req)
      })
      const body = 'x'.repeat(150_000)
      assert.equal((await wall.ask({ method: 'POST', body })).body, 'early')
      for (let time = 0; time < 3; time++) {
        assert.equal((await wall.ask({ signal: AbortSignal.timeout(3000) })).body, 'early')
      }
      assert.ok(length < body.length)
      goOn()
      await eventually(() => isOver)
      assert.equal(length, body.length)
    })

    const strange: [what: string, answer: string][] = [
      [
        'a private header that is no JSON',
        'HTTP/1.1 200 OK\r\nX-Express-Van-Next: x\r\nContent-Length: 0\r\n\r\n',
      ],
      [
        'a private header that is null',
        'HTTP/1.1 200 OK\r\nX-Express-Van-Next: bnVsbA==\r\nContent-Length: 0\r\n\r\n',
      ],
      ['an empty private header', 'HTTP/1.1 200 OK\r\nX-Express-Van-Next: \r\nContent-Length: 0\r\n\r\n'],
      ['a control character in its status line', 'HTTP/1.1 200 a\x01b\r\nContent-Length: 1\r\n\r\nx'],
      ['a status that is none', 'HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n'],
      ['a switch of protocols', 'HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
    ]
    for (const [what, answer] of strange) {
      it(`an answer with ${what} is 502, and harms nobody else`, async () => {
        await using wall = await Wall.start((req, res) => {
          if (req.url === '/strange') req.socket.write(answer, 'latin1')
          else res.end('well')
        })
        for (const method of ['GET', 'POST'])
          assert.equal((await wall.ask({ path: '/strange', method })).status, 502)
        assert.equal((await wall.ask({})).body, 'well')
        assert.equal((wall.errors[0] as VhostError).code, 'ERR_VHOST_CRASHED')
      })
    }

    it('is reported by an error with the hostname', async () => {
      await using wall = await Wall.start(
        (req, res) => {
          if (req.url === '/malformed') res.socket?.end('no HTTP')
          else if (req.url === '/crash') req.socket.destroy()
        },
        { requestTimeout: 50 },
      )
      wall.before = req => Object.assign(req, { vhost: { hostname: 'aries.test' } })
      for (const path of ['/malformed', '/crash', '/late']) await wall.ask({ path })
      assert.deepEqual(
        (wall.errors as VhostError[]).map(({ code, hostname }) => [code, hostname]),
        ['ERR_VHOST_CRASHED', 'ERR_VHOST_CRASHED', 'ERR_VHOST_REQUEST_TIMEOUT'].map(code => [
          code,
          'aries.test',
        ]),
      )
    })

    it('the time that a client takes to send slowly is not taken from the app', async () => {
      await using wall = await Wall.start((req, res) => void bodyOf(req).then(body => res.end(body)), {
        requestTimeout: 200,
      })
      const request = http.request({ port: wall.port, method: 'POST', agent: false })
      request.flushHeaders()
      for (const piece of 'slowly') {
        await delay(80)
        request.write(piece)
      }
      request.end()
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      assert.deepEqual([response.statusCode, await bodyOf(response)], [200, 'slowly'])
    })

    it('a body that was already read is an error at once', async () => {
      await using wall = await Wall.start((_, res) => res.end('well'))
      wall.around = (req, _, next) => void bodyOf(req).then(() => next())
      const answer = await wall.ask({ method: 'POST', headers: { 'content-length': 4 }, body: 'body' })
      assert.equal(answer.status, 500)
      assert.match((wall.errors[0] as Error).message, /was read before it came to the router/)
      assert.doesNotMatch((wall.errors[0] as Error).stack as string, FRAME)
      assert.equal((await wall.ask({})).body, 'well')
    })

    it('a body that was partly read before is an error, and not waited for', async () => {
      await using wall = await Wall.start((req, res) => void bodyOf(req).then(body => res.end(body)))
      wall.around = (req, _, next) => {
        if (req.method === 'GET') next()
        else
          req.once('readable', () => {
            req.read(1)
            next()
          })
      }
      const answer = await wall.ask({ method: 'POST', headers: { 'content-length': 4 }, body: 'body' })
      assert.equal(answer.status, 500)
      assert.match((wall.errors[0] as Error).message, /was read before it came to the router/)
      assert.equal((await wall.ask({})).status, 200)
    })

    it('a body that grows when a middleware has it decoded is an error, and never another request', async () => {
      const asked: unknown[] = []
      await using wall = await Wall.start((req, res) => {
        asked.push(req.url)
        void bodyOf(req).then(body => res.end(body))
      })
      wall.before = req => req.setEncoding('utf8')
      const hidden = 'GET /hidden HTTP/1.1\r\nHost: a\r\nab: 1\r\n\r\n'
      // Each such byte becomes three.
      const body = '\xff'.repeat(hidden.length / 2) + hidden
      const head = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`
      for (let time = 0; time < 3; time++) {
        assert.match(await wall.raw(head + body), /^HTTP\/1\.1 500 /)
        assert.match((wall.errors[time] as Error).message, /was read before it came to the router/)
        assert.equal((await wall.ask({ path: '/next' })).status, 200)
      }
      assert.ok(!asked.includes('/hidden'))
    })

    it('a target that cannot be forwarded is an error', async () => {
      await using wall = await Wall.start((_, res) => res.end('well'))
      wall.before = req => {
        req.url = '/a b'
      }
      assert.equal((await wall.ask({})).status, 500)
      assert.match((wall.errors[0] as Error).stack as string, /^TypeError.*unescaped characters$/)
    })

    it('an app that takes too long causes 504 if there is a limit', async () => {
      await using wall = await Wall.start(
        (req, res) => {
          if (req.url === '/slow') return
          res.write('begun ')
          setTimeout(() => res.end('ended'), 150)
        },
        { requestTimeout: 100 },
      )
      assert.equal((await wall.ask({ path: '/slow' })).status, 504)
      assert.equal((wall.errors[0] as VhostError).code, 'ERR_VHOST_REQUEST_TIMEOUT')
      assert.equal((await wall.ask({})).body, 'begun ended')
      await eventually(() => wall.upstreamAborts === 1)
    })

    it('an answer that arrives in time is passed on even if the router is held up until it is late', async t => {
      await using wall = await Wall.start(
        (_, res) => {
          res.end('in time')
          // The router's timer comes first, then whatever has long been there to read.
          t.mock.timers.tick(100)
        },
        { requestTimeout: 100 },
      )
      t.mock.timers.enable({ apis: ['setTimeout'] })
      for (const method of ['GET', 'POST']) assert.equal((await wall.ask({ method })).body, 'in time')
    })

    it('what a client sends in time is forwarded even if the router is held up until it is late', async t => {
      await using wall = await Wall.start(
        (req, res) => {
          void bodyOf(req).then(body => res.end(body))
          request.end('in time')
          t.mock.timers.tick(100)
        },
        { requestTimeout: 100 },
      )
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const request = http.request({ port: wall.port, method: 'POST', agent: false })
      request.flushHeaders()
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      assert.deepEqual([response.statusCode, await bodyOf(response)], [200, 'in time'])
    })

    it('an app has its full time from when it is reached, which the router may delay', async () => {
      await using wall = await Wall.start((_, res) => void setTimeout(() => res.end('in time'), 200), {
        requestTimeout: 400,
      })
      wall.around = (_, __, next) => {
        next()
        const end = performance.now() + 300
        while (performance.now() < end);
      }
      assert.equal((await wall.ask({})).body, 'in time')
    })

    it('an app that answers and destroys the connection during an upload has either answered or caused 502', async () => {
      await using wall = await Wall.start((req, res) => {
        res.writeHead(413).end('too much', () => req.socket.destroy())
      })
      const statuses = new Set<number>()
      for (let time = 0; time < 20; time++) {
        const request = http.request({ port: wall.port, method: 'POST', agent: false })
        request.on('error', () => {})
        request.end(Buffer.alloc(5 * 2 ** 20))
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        statuses.add(response.statusCode as number)
        request.destroy()
      }
      assert.deepEqual(
        [...statuses].filter(status => status !== 413 && status !== 502),
        [],
      )
    })

    it('passes an idempotent request without a body to retry, once, and no other request', async () => {
      const retried: string[] = []
      await using wall = await Wall.start(req => req.socket.destroy(), {
        retry: (req, res) => {
          retried.push(String(req.method))
          res.end('from elsewhere')
          return true
        },
      })
      assert.equal((await wall.ask({})).body, 'from elsewhere')
      assert.equal((await wall.ask({ method: 'DELETE' })).body, 'from elsewhere')
      assert.equal((await wall.ask({ method: 'POST' })).status, 502)
      assert.equal(
        (await wall.ask({ method: 'PUT', headers: { 'content-length': 1 }, body: 'x' })).status,
        502,
      )
      assert.deepEqual(retried, ['GET', 'DELETE'])
    })

    it('passes any request without a body that never reached the app to retry', async () => {
      const retried: string[] = []
      await using wall = await Wall.start(() => {}, {
        socketPath: '/nowhere/socket',
        retry: (req, res) => {
          retried.push(String(req.method))
          res.end('from elsewhere')
          return true
        },
      })
      for (const method of ['GET', 'POST', 'PATCH']) {
        assert.equal((await wall.ask({ method })).body, 'from elsewhere')
      }
      const withBody = { method: 'POST', headers: { 'content-length': 1 }, body: 'x' }
      assert.equal((await wall.ask(withBody)).status, 502)
      assert.deepEqual(retried, ['GET', 'POST', 'PATCH'])
    })
  })

  describe('upgrades', () => {
    const echo: Upgrade = (_, socket, head) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\nhello ',
      )
      if (head.length > 0) socket.write(head)
      socket.pipe(socket)
    }

    it('join the two connections, and end together', async () => {
      let far: Duplex | undefined
      await using wall = await Wall.start(
        () => {},
        {},
        (req, socket, head) => {
          far = socket
          return echo(req, socket, head)
        },
      )
      const socket = await wall.connect()
      socket.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ')
      let received = ''
      socket.on('data', data => {
        received += data
      })
      await eventually(() => received.endsWith('hello early '))
      assert.match(
        received,
        /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\n/,
      )
      socket.write('late')
      await eventually(() => received.endsWith('late'))
      socket.destroy()
      await eventually(() => far?.destroyed === true)
    })

    it('do not end an app that does not listen for the errors of their sockets', async () => {
      await using wall = await Wall.start(
        () => {},
        {},
        (_, socket) => {
          socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n')
          socket.destroy(new Error('write EPIPE'))
        },
      )
      await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n')
    })

    it('have no trailers, whatever they announce', async () => {
      await using wall = await Wall.start(() => {}, {}, echo)
      const socket = await wall.connect()
      socket.write(
        'GET /ws HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      )
      assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 101 /)
      socket.destroy()
    })

    it('are answered by 502 if the app breaks off before it has answered', async () => {
      await using wall = await Wall.start(
        () => {},
        {},
        (_, socket) => {
          socket.destroy()
        },
      )
      const answer = await wall.raw(
        'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      )
      assert.match(answer, /^HTTP\/1\.1 502 Bad Gateway\r\n/)
    })

    it('may be refused with the answer of the app', async () => {
      await using wall = await Wall.start(
        () => {},
        {},
        (_, socket) => {
          socket.end('HTTP/1.1 401 Unauthorized\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nno')
        },
      )
      const answer = await wall.raw(
        'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      )
      assert.match(answer, /^HTTP\/1\.1 401 Unauthorized\r\nX-Own: 1\r\n[\s\S]*\r\n\r\nno$/)
    })
  })

  describe('next() of the app', () => {
    it('goes on here, without a length from an answer that was never given', async () => {
      await using wall = await Wall.start((_, res) => {
        res.setHeader('x-express-van-next', '-').setHeader('Content-Length', '2').end('zz')
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /^HTTP\/1\.1 404 [\s\S]*\r\nContent-Length: 6\r\n\r\nnobody$/)
    })

    it('goes on here, with the headers that the app had set', async () => {
      await using wall = await Wall.start((_, res, next) => {
        res.setHeader('X-Seen', '1')
        next()
      })
      const { status, body, headers } = await wall.ask({})
      assert.deepEqual([status, body, headers['x-seen']], [404, 'nobody', '1'])
      assert.deepEqual(
        Object.keys(headers).filter(name => name.startsWith('x-express-van')),
        [],
      )
    })

    it('goes on here, with the status that the app had set, which Express uses to answer errors', async () => {
      await using wall = await Wall.start((req, res, next) => {
        res.statusCode = 410
        res.statusMessage = 'No More'
        next(req.url === '/error' ? new Error('gone') : undefined)
      })
      wall.otherwise = async (_, res) => void res.end('else')
      for (const path of ['/error', '/']) {
        const answer = await wall.raw(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
        assert.match(answer, /^HTTP\/1\.1 410 Gone\r\n/)
      }
    })

    it('goes on here without an error for whatever Express does not take for one', async () => {
      for (const nothing of [undefined, null, false, 0, '', 'route', 'router']) {
        await using wall = await Wall.start((_, __, next) => next(nothing))
        assert.equal((await wall.ask({})).body, 'nobody', String(nothing))
        assert.deepEqual(wall.errors, [])
      }
    })

    for (const [how, framing] of [
      ['of a known length', (body: string) => ({ headers: { 'content-length': body.length } })],
      ['in chunks', () => ({ headers: { 'transfer-encoding': 'chunked' } })],
    ] as [string, (body: string) => object][]) {
      it(`goes on here with the body ${how} that the app left unread`, async () => {
        await using wall = await Wall.start((_, __, next) => next())
        const read: string[] = []
        wall.otherwise = async (req, res) => {
          read.push(await bodyOf(req))
          res.end(String(read.at(-1)?.length))
        }
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
        for (const body of ['x', 'hello world', 'y'.repeat(30_000), 'z'.repeat(60_000)]) {
          const answer = await wall.ask({ method: 'POST', agent, body, ...framing(body) })
          assert.equal(answer.body, String(body.length))
          assert.equal(read.at(-1), body)
        }
        assert.deepEqual(wall.errors, [])
        agent.destroy()
      })

      it(`goes on here with a body ${how} that is still to come`, async () => {
        await using wall = await Wall.start((_, __, next) => next())
        wall.otherwise = async (req, res) => void res.end(await bodyOf(req))
        const request = http.request({
          port: wall.port,
          agent: false,
          method: 'POST',
          ...framing('hello world'),
        })
        request.write('hello ')
        await eventually(() => wall.atUpstream === 1)
        await delay(20)
        request.end('world')
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        assert.equal(await bodyOf(response), 'hello world')
      })

      it(`fails with an error if the body ${how} is long, and never passes on a part of it`, async () => {
        await using wall = await Wall.start((_, __, next) => setTimeout(next, 50))
        wall.otherwise = async (req, res) => void res.end(await bodyOf(req))
        const body = 'b'.repeat(2_000_000)
        const answer = await wall.ask({ method: 'POST', body, ...framing(body) })
        assert.deepEqual([answer.status, answer.body], [500, ''])
        assert.match(
          (wall.errors[0] as Error).message,
          /next\(\) and left the body unread, .* nothing with HTTP\/2$/,
        )
        assert.doesNotMatch((wall.errors[0] as Error).stack as string, FRAME)
      })
    }

    for (const [when, around] of [
      ['before', (next: () => void) => setImmediate(next)],
      ['after', (next: () => void) => next()],
    ] as [string, (next: () => void) => void][]) {
      it(`goes on here with a body without chunks whose end was there ${when} the app was asked`, async () => {
        await using wall = await Wall.start((_, __, next) => next())
        wall.around = (_, __, next) => around(next)
        wall.otherwise = async (req, res) => void res.end(`read: ${await bodyOf(req)}`)
        const answer = await wall.raw(
          'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        )
        assert.equal(bodyText(answer), 'read: ')
      })
    }

    it('goes on here with a body that nobody reads, and the next request on the connection is answered', async () => {
      await using wall = await Wall.start((_, __, next) => next())
      const body = 'b'.repeat(200_000)
      const socket = connect(wall.port)
      let answers = ''
      socket.setEncoding('latin1').on('data', text => {
        answers += text
      })
      socket.write(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 100)}`,
      )
      await eventually(() => answers.endsWith('nobody'))
      socket.write(`${body.slice(100)}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      await once(socket, 'close')
      assert.equal(answers.match(/nobody/g)?.length, 2)
    })

    it('goes on here without a body that the app has read, as in process', async () => {
      await using wall = await Wall.start((req, _, next) => void bodyOf(req).then(() => next()))
      assert.equal((await wall.ask({ method: 'POST', body: 'x'.repeat(100_000) })).status, 404)
    })

    it('leaves an answer that has begun complete, and the next one, too', async t => {
      const said = t.mock.method(console, 'error', () => undefined)
      const big = Buffer.alloc(3_000_000, 'x')
      await using wall = await Wall.start((req, res, next) => {
        if (req.url === '/begun') {
          res.write('one ')
          next()
          setTimeout(() => res.end('two'), 20)
        } else {
          res.end(req.url === '/big' ? big : 'small')
          next(req.url === '/late' ? new Error('after the answer') : undefined)
        }
      })
      for (let time = 0; time < 3; time++) {
        assert.equal((await wall.ask({ path: '/big' })).body.length, big.length)
        for (const path of ['/small', '/late']) assert.equal((await wall.ask({ path })).body, 'small')
        assert.equal((await wall.ask({ path: '/begun' })).body, 'one two')
      }
      assert.deepEqual(wall.errors, [])
      assert.deepEqual(
        said.mock.calls.map(({ arguments: [error] }) => String(error)),
        Array(3).fill('Error: after the answer'),
      )
    })

    it('with an error cuts an incomplete answer, and says on stderr why', async t => {
      const said = t.mock.method(console, 'error', () => undefined)
      await using wall = await Wall.start((_, res, next) => {
        res.write('some')
        setTimeout(() => next(new Error('no more')), 20)
      })
      const answer = await wall.raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(answer, /4\r\nsome\r\n$/)
      assert.equal(String(said.mock.calls[0]?.arguments[0]), 'Error: no more')
    })

    it('counts once: a second call is ignored, and not reported', async t => {
      const said = t.mock.method(console, 'error', () => undefined)
      await using wall = await Wall.start((_, __, next) => {
        next()
        next(new Error('twice'))
      })
      assert.equal((await wall.ask({})).status, 404)
      assert.deepEqual([wall.errors, said.mock.callCount()], [[], 0])
    })

    it('goes on here with the error, also for HEAD', async () => {
      await using wall = await Wall.start((req, _, next) => {
        next(Object.assign(new TypeError('te\u00e4pot\n'), { status: 418, expose: true, code: 'E_TEA', req }))
      })
      for (const method of ['GET', 'HEAD']) assert.equal((await wall.ask({ method })).status, 418)
      const [error] = wall.errors as (Error & { code: string; expose: boolean; status: number })[]
      assert.ok(error instanceof Error)
      assert.deepEqual(
        [error.name, error.message, error.code, error.expose],
        ['TypeError', 'te\u00e4pot\n', 'E_TEA', true],
      )
      assert.match(error.stack ?? '', /forward\.spec/)
    })

    it('goes on here, and reads no body added by an app that sets the header itself', async () => {
      let isCut = false
      await using wall = await Wall.start((_, { socket }) => {
        socket?.once('close', () => {
          isCut = true
        })
        const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
        const go = (): void => {
          while (socket?.write(chunk));
        }
        socket
          ?.on('drain', go)
          .write('HTTP/1.1 200 OK\r\nX-Express-Van-Next: -\r\nTransfer-Encoding: chunked\r\n\r\n')
        go()
      })
      assert.equal((await wall.ask({})).status, 404)
      await eventually(() => isCut)
    })

    it('goes on in the context of its own request, as do connection errors', async () => {
      const context = new AsyncLocalStorage<string>()
      const seen: string[] = []
      await using wall = await Wall.start(
        (req, res, next) => {
          const kind = req.url?.slice(1, 2)
          if (kind === 'n') next()
          else if (kind === 'e') next(new Error('passed on'))
          else if (kind === 'd') req.socket.destroy()
          else if (kind !== 't') res.end('ok')
        },
        { requestTimeout: 300 },
      )
      wall.around = (req, _, next) => context.run(String(req.url), next)
      wall.after = req => seen.push(`${req.url} ${context.getStore()}`)
      const asked: string[] = []
      for (let round = 0; round < 5; round++) {
        const paths = [...'noedotn'].map((kind, at) => `/${kind}${round}${at}`)
        asked.push(...paths.filter(path => !path.startsWith('/o')))
        await Promise.all(paths.map(path => wall.ask({ path, method: 'POST' })))
      }
      assert.deepEqual(seen.sort(), asked.map(path => `${path} ${path}`).sort())
    })

    it('goes on with what is thrown or rejected, even if that is not an error', async () => {
      await using wall = await Wall.start(req => {
        if (req.url === '/reject') return Promise.reject(new Error('rejected'))
        throw 'text'
      })
      assert.equal((await wall.ask({ path: '/reject' })).status, 500)
      assert.equal((await wall.ask({})).status, 500)
      assert.deepEqual(
        wall.errors.map(error => (error as Error).message),
        ['rejected', 'text'],
      )
    })
  })

  describe('the client that an app sees', () => {
    const app = (): Express => {
      const inner = express()
      inner.use((req, res) => {
        const { ip, protocol, secure, hostname, baseUrl, originalUrl, url } = req
        res.json({ ip, protocol, secure, hostname, baseUrl, originalUrl, url, vhost: req.vhost })
      })
      return inner
    }
    const vhost = {
      hostname: 'a.test',
      host: 'a.test:81',
      path: '/w/a',
      realPath: '/w/a',
      length: 1,
      0: 'a.test',
    }

    it('is the one at the other end of the connection', async () => {
      await using wall = await Wall.start(app())
      wall.before = req => Object.assign(req, { vhost })
      const seen = JSON.parse(
        (await wall.ask({ localAddress: '127.0.0.7', path: '/x?y', headers: { host: 'a.test:81' } })).body,
      )
      assert.deepEqual(seen, {
        ip: '127.0.0.7',
        protocol: 'http',
        secure: false,
        hostname: 'a.test',
        baseUrl: '',
        originalUrl: '/x?y',
        url: '/x?y',
        vhost,
      })
    })

    it('comes through a mount path, which the app is told, as in process', async () => {
      await using wall = await Wall.start(app())
      wall.mount = '/m\u00fcnt/%20'
      const { baseUrl, originalUrl, url } = JSON.parse((await wall.ask({ path: '/m%C3%BCnt/%20/x' })).body)
      assert.equal(url, '/x')
      assert.equal(originalUrl, `${baseUrl}/x`)
    })

    it('asks for a target that an app without a framework is told, too', async () => {
      await using wall = await Wall.start((req, res) => {
        const { baseUrl, originalUrl, url } = req as RoutedRequest & {
          baseUrl?: string
          originalUrl?: string
        }
        res.end(JSON.stringify([baseUrl, originalUrl, url]))
      })
      assert.deepEqual(JSON.parse((await wall.ask({ path: '/y?z' })).body), ['', '/y?z', '/y?z'])
      wall.mount = '/mount'
      assert.deepEqual(JSON.parse((await wall.ask({})).body), ['/mount', '/mount/x', '/x'])
    })

    it('is the one that a trusted proxy names, and no other', async () => {
      const headers = {
        'x-forwarded-for': '203.0.113.9, 10.0.0.1',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'b.test',
        'x-real-ip': '203.0.113.8',
      }
      const trusts = (address: string): boolean => address.startsWith('127.') || address.startsWith('10.')
      await using trusting = await Wall.start(app(), { trusts })
      const seen = JSON.parse((await trusting.ask({ headers })).body)
      assert.deepEqual([seen.ip, seen.protocol, seen.secure], ['203.0.113.9', 'https', true])
      await using wary = await Wall.start(app())
      const plain = JSON.parse((await wary.ask({ headers })).body)
      assert.deepEqual([plain.ip, plain.protocol, plain.secure], ['127.0.0.1', 'http', false])
    })

    it('is told in X-Forwarded-For, -Proto and -Host by the router, whatever else they said', async () => {
      await using wall = await Wall.start((req, res) => {
        const { 'x-forwarded-for': address, 'x-forwarded-proto': protocol } = req.headersDistinct
        res.end(JSON.stringify([address, protocol, req.headersDistinct['x-forwarded-host']]))
      })
      const claims = {
        'x-forwarded-for': '203.0.113.9',
        'x-forwarded-proto': 'https',
        'X-Forwarded-Host': 'b.test',
      }
      for (const headers of [{}, claims]) {
        wall.before = req => Object.assign(req, { vhost: { hostname: 'a.test', host: 'a.test:81' } })
        assert.deepEqual(JSON.parse((await wall.ask({ headers })).body), [
          ['127.0.0.1'],
          ['http'],
          ['a.test:81'],
        ])
      }
    })

    it('may be told in further headers by a trusted proxy, and by no other', async () => {
      const headers = { 'X-Real-IP': '203.0.113.8', Forwarded: 'for=203.0.113.9' }
      for (const [trusts, told] of [
        [() => true, ['203.0.113.8', 'for=203.0.113.9']],
        [() => false, [null, null]],
      ] as const) {
        await using wall = await Wall.start(
          (req, res) => res.end(JSON.stringify([req.headers['x-real-ip'], req.headers.forwarded])),
          { trusts },
        )
        assert.deepEqual(JSON.parse((await wall.ask({ headers })).body), told)
      }
    })

    it('changes with each request on a pooled connection', async () => {
      await using wall = await Wall.start(app())
      const seen = []
      for (const localAddress of ['127.0.0.2', '127.0.0.3', '127.0.0.4']) {
        seen.push(JSON.parse((await wall.ask({ localAddress })).body).ip)
      }
      assert.deepEqual(seen, ['127.0.0.2', '127.0.0.3', '127.0.0.4'])
    })

    it('is known however many and long the headers of the request are', async () => {
      await using wall = await Wall.start(
        (req, res) => res.end(`${req.socket.remoteAddress} ${req.headers['x-forwarded-host']}`),
        {},
        undefined,
        { maxHeaderSize: 2 ** 20 },
      )
      wall.before = req => Object.assign(req, { vhost: { hostname: 'a', host: 'a' } })
      assert.equal((await wall.ask({ localAddress: '127.0.0.7' })).body, '127.0.0.7 a')
      // With Host and Connection, as many as Node lets pass unless it is told otherwise.
      const many = 'a1:\r\n'.repeat(998)
      const long = `Cookie: ${'x'.repeat(300_000)}\r\n`
      for (const lines of [many, long]) {
        const answer = await wall.raw(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`)
        assert.match(answer, /\r\n\r\n127\.0\.0\.1 a$/)
      }
    })

    it('has no time limit that an app has set for another request', async () => {
      await using wall = await Wall.start((req, res) => {
        if (req.url === '/limit') req.setTimeout(100)
        if (req.url === '/slow') setTimeout(() => res.end('slow'), 400)
        else res.end('limited')
      })
      assert.equal((await wall.ask({ path: '/limit' })).body, 'limited')
      assert.equal((await wall.ask({ path: '/slow', method: 'POST' })).body, 'slow')
    })

    it('cannot be forged by any headers', async () => {
      await using wall = await Wall.start((req, res) => {
        res.end(
          JSON.stringify({
            address: req.socket.remoteAddress,
            headers: req.rawHeaders,
            vhost: 'vhost' in req,
          }),
        )
      })
      const name = fc
        .constantFrom('x-express-van-client', 'x-express-van-vhost', 'x-express-van-next', 'x-forwarded-for')
        .chain(base =>
          fc
            .array(fc.boolean(), { minLength: base.length, maxLength: base.length })
            .map(upper =>
              [...base].map((letter, at) => (upper[at] ? letter.toUpperCase() : letter)).join(''),
            ),
        )
      const value = fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/)
      await fc.assert(
        fc.asyncProperty(fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 6 }), async given => {
          const lines = given.map(([key, text]) => `${key}: ${text}\r\n`).join('')
          const answer = await wall.raw(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`)
          const seen = JSON.parse(bodyText(answer)) as { address: string; headers: string[]; vhost: boolean }
          assert.equal(seen.address, '127.0.0.1')
          assert.equal(seen.vhost, false)
          assert.deepEqual(
            seen.headers.filter(text => /^x-express-van/i.test(text)),
            [],
          )
          const at = seen.headers.findIndex(text => /^x-forwarded-for$/i.test(text))
          assert.equal(seen.headers[at + 1], '127.0.0.1')
          assert.equal(seen.headers.filter(text => /^x-forwarded-for$/i.test(text)).length, 1)
        }),
        { numRuns: 200, seed: 5 },
      )
    })
  })

  it('serves clients of HTTP/2', async () => {
    let wholeUploads = 0
    await using wall = await Wall.start((req, res) => {
      if (req.url === '/early') return void res.end('early')
      if (req.url === '/426') return void res.writeHead(426, { upgrade: 'websocket' }).end()
      if (req.url === '/half') return void res.write('half', () => req.socket.destroy())
      if (req.url === '/never') return
      void bodyOf(req).then(body => {
        res.setHeader('Connection', 'close').setHeader('Trailer', 'X-Sum')
        res.write(`${req.method} ${req.url} ${req.headers.host} `)
        res.addTrailers({ 'X-Sum': '42' })
        res.end(body)
      })
      req.once('end', () => wholeUploads++)
    })
    const server = http2.createServer((req, res) => wall.answer(req as never, res as never))
    await new Promise<void>(resolve => server.listen(0, resolve))
    const session = http2.connect(`http://localhost:${(server.address() as AddressInfo).port}`)
    try {
      for (const [method, sent] of [
        ['GET', ''],
        ['POST', 'hello'],
      ] as const) {
        const headers = { ':path': '/x', ':method': method, ':authority': 'a.test' }
        const stream = session.request(headers, { endStream: sent === '' })
        if (sent !== '') stream.end(sent)
        const [answer] = await once(stream, 'response')
        assert.equal(answer[':status'], 200)
        assert.equal(await bodyOf(stream), `${method} /x a.test ${sent}`)
      }
      const headers = { ':path': '/early', ':method': 'POST', ':authority': 'a.test' }
      const slow = { ...headers, ':path': '/x' }
      const odd = session.request(
        { ...headers, ':path': '/trailers', ':method': 'GET' },
        { endStream: false },
      )
      const trailers = once(odd, 'trailers')
      odd.end('hello')
      assert.equal(await bodyOf(odd), 'GET /trailers a.test hello')
      assert.equal((await trailers)[0]['x-sum'], '42')
      for (let time = 0; time < 10; time++) {
        const stream = session.request(headers)
        stream.on('error', () => {}).write('some')
        assert.equal(await bodyOf(stream), 'early')
        stream.destroy()
      }
      // One or two connections wait for requests by then; otherwise each upload would have kept its own.
      await eventually(async () => (await wall.connections()) < 5)
      // HTTP/2 has no header for this.
      const other = session.request({ ':path': '/426', ':authority': 'a.test' })
      assert.equal((await once(other.resume(), 'response'))[0][':status'], 426)
      // An answer that the app breaks off is not complete.
      const half = session.request({ ':path': '/half', ':authority': 'a.test' })
      half.resume()
      await once(half, 'close').catch(() => {})
      assert.equal(half.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR)
      // An upload that breaks off is not complete.
      const [arrived, aborts, whole] = [wall.atUpstream, wall.upstreamAborts, wholeUploads]
      const broken = session.request(slow)
      broken.on('error', () => {}).write('some')
      await eventually(() => wall.atUpstream > arrived)
      broken.destroy()
      await eventually(() => wall.upstreamAborts > aborts)
      assert.equal(wholeUploads, whole)
      // An app learns that nobody waits for its answer any more.
      const never = session.request({ ':path': '/never', ':authority': 'a.test' })
      never.on('error', () => {})
      await eventually(() => wall.atUpstream > arrived + 1)
      never.close(http2.constants.NGHTTP2_CANCEL)
      await eventually(() => wall.upstreamAborts > aborts + 1)
    } finally {
      session.destroy()
      server.close()
    }
  })
})

/** An app behind a private socket, and a server that forwards to it. */
class Wall {
  readonly forward: Forward
  readonly errors: unknown[] = []
  atUpstream = 0
  upstreamAborts = 0
  /** Runs before a request is forwarded. */
  before: (req: IncomingMessage, res: ServerResponse) => void = () => {}
  mount = ''
  /** Runs around what comes next; `after` runs after the router. */
  around: (req: IncomingMessage, res: ServerResponse, next: () => void) => void = (_, __, next) => next()
  after: (req: IncomingMessage) => void = () => {}
  /** Answers what the router does not answer; by default with 404. */
  otherwise: ((req: IncomingMessage, res: ServerResponse) => Promise<void>) | undefined
  readonly #folder = mkdtempSync(join(tmpdir(), 'express-van-forward-'))
  readonly #front: Server = createFront()
  readonly #outer: Server

  private constructor(
    handle: Handle,
    options: Partial<ForwardOptions>,
    upgrade: Upgrade | undefined,
    server: http.ServerOptions,
  ) {
    const socketPath = join(this.#folder, '1')
    this.forward = new Forward({
      socketPath,
      trusts: undefined,
      requestTimeout: 0,
      retry: () => false,
      broken: () => {},
      answered: () => {},
      ...options,
    })
    this.#front.prependListener('request', (_, res) => {
      this.atUpstream++
      res.on('close', () => {
        if (!res.writableFinished) this.upstreamAborts++
      })
    })
    answerRequests(this.#front, { handle, upgrade, close: undefined })
    this.#front.listen(socketPath)
    const around = express().disable('x-powered-by')
    around.use((req, res, next) => this.around(req, res, next))
    around.use((req, res, next) => {
      this.before(req, res)
      next()
    })
    around.use((req, res, next) => {
      if (this.mount !== '')
        Object.assign(req, { baseUrl: this.mount, url: '/x', originalUrl: `${this.mount}/x` })
      this.answer(req, res, next)
    })
    around.use((req, res) => {
      this.after(req)
      if (this.otherwise) void this.otherwise(req, res)
      else res.status(404).end('nobody')
    })
    around.use((error: { status?: number }, req: IncomingMessage, res: ServerResponse, _: unknown) => {
      this.after(req)
      this.errors.push(error)
      // As Express does.
      res.statusCode = error.status ?? (res.statusCode < 400 ? 500 : res.statusCode)
      res.end()
    })
    this.#outer = http.createServer(server, around)
    this.#outer.on('upgrade', (req, socket, head) => {
      this.forward.upgrade(req, socket, head, error => refuseUpgrade(socket, (error as VhostError).status))
    })
  }

  static async start(
    handle: Handle,
    options: Partial<ForwardOptions> = {},
    upgrade?: Upgrade,
    server: http.ServerOptions = {},
  ): Promise<Wall> {
    const wall = new Wall(handle, options, upgrade, server)
    await new Promise<void>(resolve => wall.#outer.listen(0, '127.0.0.1', resolve))
    return wall
  }

  get port(): number {
    return (this.#outer.address() as AddressInfo).port
  }

  readonly answer = (
    req: IncomingMessage,
    res: ServerResponse,
    next: (error?: unknown) => void = () => {},
  ): void => {
    this.forward.handle(req, res, next)
  }

  async ask({ body, ...options }: http.RequestOptions & { body?: string }): Promise<{
    status: number
    headers: http.IncomingHttpHeaders
    body: string
  }> {
    const request = http.request({ port: this.port, host: '127.0.0.1', agent: false, ...options })
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return { status: response.statusCode as number, headers: response.headers, body: await bodyOf(response) }
  }

  /** The connections to the app. */
  async connections(): Promise<number> {
    return await promisify(this.#front.getConnections.bind(this.#front))()
  }

  async connect(): Promise<Socket> {
    const socket = connect(this.port, '127.0.0.1')
    await once(socket, 'connect')
    return socket
  }

  async raw(bytes: string): Promise<string> {
    const socket = await this.connect()
    socket.write(bytes, 'latin1')
    return await bodyOf(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#outer.closeAllConnections()
    this.#front.closeAllConnections()
    this.forward.close()
    await new Promise(resolve => this.#outer.close(resolve))
    await new Promise(resolve => this.#front.close(resolve))
    rmSync(this.#folder, { recursive: true })
  }
}

/** Everything that comes until the end, however the stream ends. */
async function bodyOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  stream.setEncoding('latin1')
  stream.on('data', data => {
    text += data
  })
  await new Promise(resolve => stream.once('end', resolve).once('close', resolve).once('error', resolve))
  return text
}

/** Bytes that differ everywhere, so that a misplaced one is noticed. */
function patternOf(seed: number, length: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let at = 0; at < words.length; at++)
    words[at] = Math.imul(at + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b)
  return Buffer.from(words.buffer, 0, length)
}

function bodyText(answer: string): string {
  const body = answer.slice(answer.indexOf('\r\n\r\n') + 4)
  return /transfer-encoding: chunked/i.test(answer)
    ? body.replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, '')
    : body
}
