import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

/** A request and its response, as Node's server hands them over. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** Requests that Node has parsed from bytes on a real socket, collected instead of answered. */
export class Exchanges {
  readonly #server: Server
  #socket: Socket | undefined
  #collected: Exchange[] = []
  #expected = 0
  #complete: (exchanges: Exchange[]) => void = () => {}

  constructor() {
    this.#server = createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, (req, res) => {
      this.#collected.push({ req, res })
      if (this.#collected.length === this.#expected) this.#complete(this.#collected)
    })
  }

  /** One request for each host, pipelined on one connection. */
  async collect(hosts: readonly string[]): Promise<Exchange[]> {
    this.#socket ??= await this.#connect()
    this.#collected = []
    this.#expected = hosts.length
    const complete = new Promise<Exchange[]>(resolve => {
      this.#complete = resolve
    })
    this.#socket.write(hosts.map(requestTo).join(''))
    return await complete
  }

  /** Answers what was collected last, and waits until it has closed. */
  async answer(): Promise<void> {
    const last = this.#collected.at(-1)?.res
    const closed = new Promise(resolve => last?.once('close', resolve))
    for (const { res } of this.#collected) res.end()
    await closed
  }

  async #connect(): Promise<Socket> {
    this.#server.listen(0, '127.0.0.1')
    await new Promise(resolve => this.#server.once('listening', resolve))
    const { port } = this.#server.address() as AddressInfo
    const socket = connect(port, '127.0.0.1').resume()
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return socket
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy()
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

function requestTo(host: string): string {
  return (
    `GET / HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\n` +
    'Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n'
  )
}
