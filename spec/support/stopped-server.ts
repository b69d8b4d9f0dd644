import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A server behind a private socket, in a stopped process. The system queues one or two connections for it. */
export class StoppedServer {
  readonly path: string
  readonly #folder: string
  readonly #child: ChildProcess

  private constructor(folder: string, path: string, child: ChildProcess) {
    this.#folder = folder
    this.path = path
    this.#child = child
  }

  static async start(): Promise<StoppedServer> {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-stopped-'))
    const path = join(folder, '1')
    const program = `
      const server = require('http').createServer((req, res) => res.end('ok'))
      server.on('upgrade', (req, socket) => {
        socket.end('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: a\\r\\nConnection: Upgrade\\r\\n\\r\\nok')
      })
      server.listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('listens'))`
    const child = spawn(process.execPath, ['--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGSTOP')
    return new StoppedServer(folder, path, child)
  }

  goOn(): void {
    this.#child.kill('SIGCONT')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
    rmSync(this.#folder, { recursive: true })
  }
}
