import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'

/** Why nginx is missing; undefined if it is there. */
export function nginxMissing(): string | undefined {
  return spawnSync('nginx', ['-v']).error ? 'nginx is not installed' : undefined
}

/** Debian's nginx with a configuration from README, in a folder of its own and on a free port; gone when disposed. */
export class Nginx {
  readonly port: number
  readonly #folder: string
  readonly #child: ChildProcess

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port
    this.#folder = folder
    this.#child = child
  }

  /** `config` goes into the `http` block. */
  static async start(config: (port: number) => string, attempts = 5): Promise<Nginx> {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-nginx-'))
    const port = await freePort()
    writeFileSync(join(folder, 'nginx.conf'), withFrame(config(port), folder))
    mkdirSync(join(folder, 'temporary'))
    const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let told = ''
    child.stderr?.on('data', data => {
      told += data
    })
    const nginx = new Nginx(port, folder, child)
    while (child.exitCode === null && !(await answers(port)));
    if (child.exitCode === null) return nginx
    await nginx[Symbol.asyncDispose]()
    // Somebody else has taken the port meanwhile.
    if (attempts > 1 && /Address already in use/.test(told)) return await Nginx.start(config, attempts - 1)
    throw new Error(`nginx did not start: ${told}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill()
      await ended
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

// A single process, which ends when it is told to.
function withFrame(config: string, folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(name => `  ${name}_temp_path ${folder}/temporary/${name};`)
    .join('\n')
  return `daemon off;
master_process off;
pid ${folder}/nginx.pid;
events {}
http {
  access_log off;
${temporary}
${config}
}
`
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return await new Promise(resolve => {
    socket
      .once('connect', () => resolve(true))
      .once('error', () => setTimeout(resolve, 5, false))
      .once('close', () => socket.destroy())
      .once('connect', () => socket.destroy())
  })
}
