import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { ReleaseClients } from './bench/release-clients.ts'
import { block, Recipe } from './support/recipe.ts'

const PAGE = 'docs/customers.md'
const PROGRAM = new URL('../lib/cli.js', import.meta.url).pathname
const HOST = 'aries.example.com'
const CUSTOMER = '7705'
const OLDER = ['20200101T000000Z', '20200102T000000Z', '20200103T000000Z', '20200104T000000Z']

describe(PAGE, {
  skip: process.platform === 'linux' && process.getuid?.() === 0 ? false : 'needs root, and Linux',
}, () => {
  it('describes deploys and rollbacks that fail no request, run as the customer and keep five releases', async () => {
    await using box = new Box()
    const port = await box.serve()
    box.asCustomer(`mkdir -p ${OLDER.map(name => `releases/${name}`).join(' ')}`)
    const first = box.deploy('1')
    assert.deepEqual(await box.answer(port), { status: 200, body: '1' })
    const clients = new ReleaseClients(port, HOST, 4)
    const second = box.deploy('2')
    const isSeen = await clients.sees(2, 10_000)
    await clients.stop()
    assert.deepEqual([isSeen, clients.failed, clients.failure], [true, 0, undefined])
    assert.deepEqual(box.releases(), [...OLDER.slice(1), first, second])

    const back = /ln -sfn releases\/\S+ current/.exec(readFileSync(PAGE, 'utf8'))?.[0] ?? ''
    box.asCustomer(back.replace(/releases\/\S+/, `releases/${first}`))
    assert.equal(box.current(), `releases/${first}`)
    const after = new ReleaseClients(port, HOST, 1)
    assert.ok(await after.sees(1, 10_000))
    await after.stop()

    // The release before is kept, however old it is.
    box.asCustomer(`ln -sfn releases/${OLDER[1]} current`)
    const third = box.deploy('3')
    assert.deepEqual(box.releases(), [OLDER[1], OLDER[3], first, second, third])
  })

  it('makes its commands use the socket of the unit, in a folder that no customer can create first', () => {
    const unit = block('ini', /ExecStart/, PAGE)
    const [, folder] = /^RuntimeDirectory=(\S+)$/m.exec(unit) ?? []
    const socket = `--socket /run/${folder}/control.sock`
    assert.ok(unit.includes(`${socket}\n`))
    assert.ok(block('sh', /"\$@"/, PAGE).endsWith(` ${socket}\n`))
  })

  it('lets a deploy after an interrupted one lead to the release that it brings', async () => {
    await using box = new Box()
    await box.serve()
    const first = box.deploy('1')
    box.asCustomer(`ln -s releases/${first} new`)
    const second = box.deploy('2')
    assert.equal(box.current(), `releases/${second}`)
  })

  it('leaves everything as it was when a release is refused, and says so', async () => {
    await using box = new Box()
    const port = await box.serve()
    assert.throws(() => box.deploy('1', 'throw new Error("boom")'), { status: 1, message: /boom/ })
    assert.deepEqual(box.releases(), [])
    const first = box.deploy('1')
    assert.throws(() => box.deploy('2', 'throw new Error("boom")'), { status: 1, message: /boom/ })
    assert.equal(box.current(), `releases/${first}`)
    assert.deepEqual(box.releases(), [first])
    assert.deepEqual(await box.answer(port), { status: 200, body: '1' })
  })

  it('leaves everything as it was when a release cannot be deployed', async () => {
    await using box = new Box()
    await box.serve()
    const first = box.deploy('1')
    box.write('upload/package-lock.json', 'no JSON')
    assert.throws(() => box.deploy('2'))
    assert.equal(box.current(), `releases/${first}`)
    assert.deepEqual(box.releases(), [first])
  })
})

/** A box set up as the page says, in a folder of its own. */
class Box extends Recipe {
  readonly #site = this.path('www', HOST)
  readonly #socket = this.path('control.sock')
  #server: ChildProcess | undefined

  constructor() {
    super()
    for (const folder of ['bin', 'www', 'upload', 'home', `www/${HOST}`]) mkdirSync(this.path(folder))
    for (const folder of ['.', 'bin', 'www', 'upload']) chmodSync(this.path(folder), 0o755)
    for (const folder of ['home', `www/${HOST}`])
      chownSync(this.path(folder), Number(CUSTOMER), Number(CUSTOMER))
    chmodSync(this.#site, 0o750)
    this.write('deploy', this.#here(block('sh', /^set -eu/m, PAGE)))
    this.write('bin/sudo', `#!/usr/bin/env node\n${this.#sudo()}`)
    for (const program of ['deploy', 'bin/sudo']) chmodSync(this.path(program), 0o755)
  }

  /** Runs the unit's command on a free port, which it returns. */
  async serve(): Promise<number> {
    const [, command = ''] = /^ExecStart=\S+ ((?:.*\\\n)*.*)$/m.exec(block('ini', /ExecStart/, PAGE)) ?? []
    const words = this.#here(command.replaceAll('%%', '%').replaceAll('\\\n', '')).split(/ +/)
    const server = spawn(process.execPath, [PROGRAM, ...words, '--port', '0', '--socket', this.#socket], {
      env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: this.path('home') },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#server = server
    for await (const line of createInterface(server.stdout)) {
      const port = /^.*http:\/\/\S+:(\d+)/.exec(line)?.[1]
      if (port === undefined) continue
      chmodSync(this.#socket, 0o666)
      return Number(port)
    }
    throw new Error('it does not serve')
  }

  /** Returns the name of the release. */
  deploy(answer: string, source = `module.exports = (req, res) => res.end('${answer}')`): string {
    this.write('upload/app/index.js', source)
    // Releases are named by the second.
    while (this.releases().includes(nameNow()));
    this.asCustomer(`${this.path('deploy')} ${HOST} ${this.path('upload')}`)
    return this.releases().at(-1) ?? ''
  }

  /** Runs a shell command in the folder of the site. */
  asCustomer(command: string): void {
    const words = ['--reuid', CUSTOMER, '--regid', CUSTOMER, '--clear-groups', 'sh', '-ec', command]
    execFileSync('setpriv', words, {
      cwd: this.#site,
      env: { PATH: `${this.path('bin')}:${process.env.PATH}`, HOME: this.path('home') },
      stdio: 'pipe',
    })
  }

  releases(): string[] {
    try {
      return readdirSync(`${this.#site}/releases`).sort()
    } catch {
      return []
    }
  }

  current(): string {
    return readlinkSync(`${this.#site}/current`)
  }

  async answer(port: number): Promise<{ status: number; body: string }> {
    const { status, body } = await this.get(HOST, '/', {}, port)
    return { status, body }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server) {
      const ended = once(this.#server, 'exit')
      this.#server.kill()
      await ended
    }
    await super[Symbol.asyncDispose]()
  }

  /** Runs, as root, what the page allows the customer: only root may use the socket otherwise. */
  #sudo(): string {
    const [, command = ''] = /NOPASSWD: (.*)'/.exec(block('sh', /NOPASSWD/, PAGE)) ?? []
    return `
      const asked = process.argv.slice(2).join(' ')
      if (asked !== '-n ${command}') throw new Error('not allowed: ' + asked)
      const options = { socketPath: '${this.#socket}', method: 'POST', path: '/reload?host=${HOST}' }
      require('node:http').request(options, response => {
        response.pipe(process.stderr)
        process.exitCode = response.statusCode === 200 ? 0 : 1
      }).end()`
  }

  #here(text: string): string {
    return text.replaceAll('/var/www', this.path('www'))
  }
}

function nameNow(): string {
  return `${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}
