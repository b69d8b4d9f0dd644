import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Answer, RequestOptions } from './world.ts'

/** The first code block of a page in this language that matches. */
export function block(language: string, pattern: RegExp, page = 'README.md'): string {
  const blocks = readFileSync(page, 'utf8').matchAll(/^```(\w+)\n(.*?)^```/gms)
  for (const [, name, code = ''] of blocks) if (name === language && pattern.test(code)) return code
  throw new Error(`${page} has no block of ${language} that matches ${pattern}`)
}

/** A program from README that runs in a process of its own, with a folder of vhosts; all of it gone when disposed. */
export class Recipe {
  readonly base: string = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-recipe-')))
  /** What the program wrote to stdout. */
  stdout = ''
  port = 0
  #child: ChildProcess | undefined

  /** Runs ES module code that has a `server`, on a free port instead of the port that it names. */
  async start(code: string): Promise<this> {
    const imported = code.matchAll(/from '((?:@[\w-]+\/)?[\w-]+)/g)
    for (const name of new Set([...imported].map(([, name = '']) => name))) this.#link(name)
    const changed = code.replaceAll('/var/www', this.path('www')).replace(/listen\(\d+/, 'listen(0')
    writeFileSync(
      this.path('server.mjs'),
      `${changed}\nserver.on('listening', () => process.send(server.address().port))\n`,
    )
    const child = spawn(process.execPath, ['server.mjs'], {
      cwd: this.base,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    this.#child = child
    child.stdout?.on('data', data => {
      this.stdout += data
    })
    ;[this.port] = (await once(child, 'message')) as [number]
    return this
  }

  path(...parts: string[]): string {
    return join(this.base, ...parts)
  }

  write(file: string, content: string): void {
    mkdirSync(dirname(this.path(file)), { recursive: true })
    writeFileSync(this.path(file), content)
  }

  async get(host: string, path = '/', options: RequestOptions = {}, port = this.port): Promise<Answer> {
    const { body, headers, ...rest } = options
    const request = http.request({
      port,
      path,
      agent: false,
      ...rest,
      headers: { host, ...(headers as object) },
    })
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child && this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill()
      await ended
    }
    rmSync(this.base, { recursive: true, force: true })
  }

  #link(name: string): void {
    if (name === 'node') return
    const path = this.path('node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    const root = process.cwd()
    symlinkSync(name === 'express-van' ? root : join(root, 'node_modules', name), path)
  }
}
