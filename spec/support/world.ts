import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import http, {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import express, { type Express } from 'express'
import type { VhostEvents, VhostRouter, VhostRouterOptions } from '../../lib/index.ts'
import { vhostRouter } from '../../lib/index.ts'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

export interface RequestOptions extends http.RequestOptions {
  body?: string
}

type Told = { [E in keyof VhostEvents]: { event: E } & VhostEvents[E] }[keyof VhostEvents]

/** A folder of vhosts on disk and a real server on a free port; all of it gone when disposed. */
export class World {
  readonly base: string = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-')))
  readonly vhosts: VhostRouter
  readonly app: Express
  /** What the outer app's error handler received. */
  readonly errors: unknown[] = []
  /** Every event, in order. */
  readonly told: Told[] = []
  server!: Server
  readonly #upgrades: boolean

  /** `set` mounts the router; by default the router is mounted alone, before a 404. */
  constructor(
    options: VhostRouterOptions & { upgrades?: boolean } = {},
    set: (app: Express, vhosts: VhostRouter) => void = (app, vhosts) => app.use(vhosts),
  ) {
    const { upgrades = true, ...routerOptions } = options
    this.#upgrades = upgrades
    this.vhosts = vhostRouter({ basePath: join(this.base, 'www'), ...routerOptions })
    mkdirSync(join(this.base, 'www'))
    for (const event of ['load', 'reload', 'evict', 'log', 'error'] as const) {
      this.vhosts.on(event, about => this.told.push({ event, ...about } as Told))
    }
    this.app = express()
    this.app.disable('x-powered-by')
    set(this.app, this.vhosts)
    this.app.use((req, res) => {
      res.status(404).send(`nobody serves ${req.vhost?.hostname ?? 'this'}`)
    })
    this.app.use(
      (error: { status?: number; headers?: object }, _: unknown, res: express.Response, __: unknown) => {
        this.errors.push(error)
        res
          .set(error.headers)
          .status(error.status ?? 500)
          .send('outer error')
      },
    )
  }

  static async start(...values: ConstructorParameters<typeof World>): Promise<World> {
    const world = new World(...values)
    world.server = world.app.listen(0)
    if (world.#upgrades) world.server.on('upgrade', world.vhosts.upgrade)
    await new Promise(resolve => world.server.once('listening', resolve))
    return world
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  /** The path of something below the base path. */
  path(...parts: string[]): string {
    return join(this.base, 'www', ...parts)
  }

  /** Writes a file below the base path, with the folders on its way. */
  write(file: string, content: string): void {
    const path = this.path(file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }

  /** Writes a CommonJS app that answers with a text. */
  site(folder: string, answer: string): void {
    this.write(
      `${folder}/app/index.js`,
      `module.exports = (req, res) => res.end(${JSON.stringify(answer)})\n`,
    )
  }

  /** Makes a symlink below the base path, or flips it atomically. */
  link(link: string, target: string): void {
    const path = this.path(link)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(target, `${path}.new`)
    renameSync(`${path}.new`, path)
  }

  remove(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true })
  }

  async get(host: string, path = '/', options: RequestOptions = {}): Promise<Answer> {
    const { body, ...rest } = options
    const request = http.request({
      port: this.port,
      path,
      agent: false,
      ...rest,
      headers: { host, ...(rest.headers as object) },
    })
    request.end(body)
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve).on('error', reject)
    })
    return { status: response.statusCode as number, headers: response.headers, body: await text(response) }
  }

  /** Short for the body of an answer. */
  async body(host: string, path?: string): Promise<string> {
    return (await this.get(host, path)).body
  }

  /** Sends bytes as they are, and reads until the server closes. */
  async raw(bytes: string): Promise<string> {
    const socket = connect(this.port, '127.0.0.1')
    socket.setEncoding('latin1')
    socket.write(bytes, 'latin1')
    let received = ''
    socket.on('data', data => {
      received += data
    })
    await new Promise(resolve => socket.once('close', resolve).once('error', resolve))
    return received
  }

  /** Events of one kind. */
  events<E extends keyof VhostEvents>(event: E): VhostEvents[E][] {
    return this.told.filter(told => told.event === event) as unknown as VhostEvents[E][]
  }

  /** Resolves with the next event of a kind that passes. */
  async event<E extends keyof VhostEvents>(
    event: E,
    passes: (about: VhostEvents[E]) => boolean = () => true,
  ): Promise<VhostEvents[E]> {
    return await new Promise(resolve => {
      const listener = (about: VhostEvents[E]): void => {
        if (!passes(about)) return
        this.vhosts.off(event, listener)
        resolve(about)
      }
      this.vhosts.on(event, listener)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server?.closeAllConnections()
    this.server?.close()
    await this.vhosts.close({ drainTimeout: 0 })
    rmSync(this.base, { recursive: true, force: true })
  }
}

type Nothing = ReturnType<() => void>
/** A condition is true or false, or asserts and returns nothing. One that may be undefined would pass at once. */
type Condition<T> = [T] extends [boolean]
  ? unknown
  : [Nothing, T] extends [T, boolean | Nothing]
    ? unknown
    : never

/** Polls until a condition holds; on timeout fails with the last reason why it did not. */
export async function eventually<T>(check: (() => T) & Condition<Awaited<T>>, limit = 10_000): Promise<void> {
  const end = performance.now() + limit
  for (;;) {
    try {
      if ((await check()) !== false) return
      if (performance.now() > end) throw new Error(`still not so after ${limit} ms: ${check}`)
    } catch (error) {
      if (performance.now() > end) throw error
    }
    await delay(5)
  }
}

export type Handler = (req: IncomingMessage, res: ServerResponse) => void
