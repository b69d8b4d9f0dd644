import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import WebSocket from 'ws'
import { eventually } from './support/world.ts'

/** The compiled example, run in a copy of its folder so that a spec may change the sites. */
class Example {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'express-van-example-'))
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  printed = ''

  constructor() {
    const root = process.cwd()
    cpSync('example-site', join(this.folder, 'example-site'), { recursive: true, verbatimSymlinks: true })
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
    this.child = spawn(process.execPath, [join(root, '.build', 'example-site', 'server.js')], {
      cwd: this.folder,
      env: { ...process.env, PORT: '0', NODE_ENV: 'development', NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', data => {
        this.printed += data
      })
    }
  }

  static async start(): Promise<Example> {
    const example = new Example()
    await eventually(() => example.port > 0 && example.printed.includes('www.aries.localhost'))
    return example
  }

  get port(): number {
    return Number(/localhost:(\d+)/.exec(this.printed)?.[1] ?? 0)
  }

  vhost(...path: string[]): string {
    return join(this.folder, 'example-site', 'vhosts', ...path)
  }

  edit(file: string, from: string, to: string): void {
    const source = readFileSync(this.vhost(file), 'utf8')
    assert.ok(source.includes(from), `${file} holds ${from}`)
    writeFileSync(this.vhost(file), source.replace(from, to))
  }

  async get(name: string, path = '/'): Promise<{ status: number; body: string; type: string }> {
    const headers = { host: `${name}.localhost:${this.port}` }
    const request = http.get({ port: this.port, path, headers, agent: false })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const body = await text(response)
    assert.ok(!body.includes(this.folder) && !body.includes(process.cwd()), 'no path of the machine')
    return { status: response.statusCode as number, body, type: response.headers['content-type'] ?? '' }
  }

  async shows(name: string, expected: RegExp): Promise<void> {
    await eventually(async () => assert.match((await this.get(name)).body, expected))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill('SIGKILL')
      await once(this.child, 'exit')
    }
    rmSync(this.folder, { recursive: true, force: true })
    assert.ok(!this.printed.includes(this.folder), 'printed no path of the machine')
  }
}

/** How many TCP sockets a process listens on; known on Linux only. */
function listeningPorts(pid: number): number {
  if (process.platform !== 'linux') return 1
  const descriptors = readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
    } catch {
      return []
    }
  })
  const listening = ['tcp', 'tcp6'].flatMap(name =>
    readFileSync(`/proc/${pid}/net/${name}`, 'utf8')
      .split('\n')
      .map(line => line.trim().split(/\s+/))
      .filter(fields => fields[3] === '0A')
      .map(fields => fields[9]),
  )
  return descriptors.filter(inode => listening.includes(inode)).length
}

describe('example-site', () => {
  it('has a page that says what its sites do', async () => {
    await using example = await Example.start()
    await eventually(() =>
      assert.match(example.printed, /^http:\/\/status\.localhost:\d+\/ +what they do, live$/m),
    )
    const { status, body } = await example.get('status')
    assert.equal(status, 200)
    assert.match(body, /<title>example-site<\/title>/)
  })

  it('prints a line with a URL and a curl for each site, and serves all of them', async () => {
    await using example = await Example.start()
    const { port } = example
    const sites =
      'aries cancer gemini leo libra pisces scorpio taurus virgo www.aries fastify h3 hono koa nest'
    for (const name of sites.split(' ')) {
      const curl = `curl -H 'Host: ${name}\\.localhost' http://localhost:${port}/`
      assert.match(example.printed, new RegExp(`^http://${name}\\.localhost:${port}/ +${curl}$`, 'm'))
    }
    for (const [name, expected] of [
      ['aries', /Hello from the ram/],
      ['taurus', /Hello from the bull/],
      ['gemini', /zodiac 1\.0\.0/],
      ['cancer', /zodiac 2\.0\.0/],
      ['leo', /document root and no app/],
      ['virgo', /release 1/],
      ['scorpio', /app\.listen\(\)/],
      ['pisces', /WebSocket/],
      ['fastify', /^<!doctype html>.*<h1>fastify\.localhost<.*An app of Fastify/s],
      ['h3', /^<!doctype html>.*<h1>h3\.localhost<.*An app of h3/s],
      ['hono', /^<!doctype html>.*<h1>hono\.localhost<.*An app of Hono/s],
      ['koa', /^<!doctype html>.*<h1>koa\.localhost<.*An app of Koa/s],
      ['nest', /^<!doctype html>.*<h1>nest\.localhost<.*An app of NestJS/s],
    ] as const) {
      const { status, body, type } = await example.get(name)
      assert.deepEqual([status, type.split(';')[0]], [200, 'text/html'], name)
      assert.match(body, expected)
    }
    assert.equal((await example.get('aries', '/style.css')).type.split(';')[0], 'text/css')
    assert.match((await example.get('leo', '/.well-known/security.txt')).body, /^Contact:/)
    assert.equal((await example.get('nobody')).status, 404)
  })

  it('shows an edit of any file, shares the app of an alias, follows a flip, heals a mended site', async () => {
    await using example = await Example.start()
    await example.get('aries')
    assert.match((await example.get('www.aries')).body, /<b>2<\/b>/)
    example.edit('aries.localhost/app/lib.js', 'the ram', 'the golden ram')
    await example.shows('aries', /the golden ram/)

    assert.match((await example.get('virgo')).body, /release 1/)
    symlinkSync('releases/2', example.vhost('virgo.localhost', 'next'))
    renameSync(example.vhost('virgo.localhost', 'next'), example.vhost('virgo.localhost', 'current'))
    await example.shows('virgo', /release 2/)
    await eventually(() => assert.match(example.printed, /^reload +virgo\.localhost .*releases\/2$/m))

    assert.equal((await example.get('libra')).status, 500)
    assert.match(example.printed, /^error +libra\.localhost +Cannot find module '\.\/greting'/m)
    example.edit('libra.localhost/app/index.js', './greting', './greeting')
    await example.shows('libra', /In balance again/)

    rmSync(example.vhost('gemini.localhost'), { recursive: true })
    await eventually(async () => assert.equal((await example.get('gemini')).status, 404))
  })

  it('echoes over a WebSocket, and binds no port for an app that listens', async () => {
    await using example = await Example.start()
    const socket = new WebSocket(`ws://localhost:${example.port}/`, {
      headers: { host: 'pisces.localhost' },
    })
    await once(socket, 'open')
    socket.send('hello')
    const [echoed] = (await once(socket, 'message')) as [Buffer]
    assert.match(String(echoed), /hello/)
    socket.terminate()
    assert.equal((await example.get('scorpio')).status, 200)
    assert.equal(listeningPorts(example.child.pid as number), 1)
  })

  it('ends gracefully on a signal, and at once on the second', async () => {
    await using graceful = await Example.start()
    await graceful.get('taurus')
    graceful.child.kill('SIGTERM')
    assert.deepEqual(await once(graceful.child, 'exit'), [0, null])
    assert.match(graceful.printed, /the clock has stopped/)

    await using stubborn = await Example.start()
    const held = http.get({ port: stubborn.port, headers: { host: 'pisces.localhost' } })
    held.on('error', () => {})
    const socket = new WebSocket(`ws://localhost:${stubborn.port}/`, {
      headers: { host: 'pisces.localhost' },
    })
    socket.on('error', () => {})
    await once(socket, 'open')
    stubborn.child.kill('SIGINT')
    await eventually(async () => assert.rejects(stubborn.get('aries')))
    stubborn.child.kill('SIGINT')
    assert.deepEqual(await once(stubborn.child, 'exit'), [1, null])
    socket.terminate()
    held.destroy()
  })
})
