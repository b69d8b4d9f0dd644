import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

/** A request and its response, as Node's server hands them over. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/**
 * Requests that Node has parsed from bytes, each on a socket of its own, as browsers and proxies send them: collected
 * instead of answered.
 */
export class Exchanges {
  readonly #server: Server
  readonly #sockets: Socket[] = []
  #collected: Exchange[] = []
  #expected = 0
  #complete: (exchanges: Exchange[]) => void = () => {}

  constructor() {
    this.#server = createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, (req, res) => {
      this.#collected.push({ req, res })
      if (this.#collected.length === this.#expected) this.#complete(this.#collected)
    })
  }

  /** One request for each host. */
  async collect(hosts: readonly string[]): Promise<Exchange[]> {
    while (this.#sockets.length < hosts.length) this.#sockets.push(await this.#connect())
    this.#collected = []
    this.#expected = hosts.length
    const complete = new Promise<Exchange[]>(resolve => {
      this.#complete = resolve
    })
    for (const [index, host] of hosts.entries()) this.#sockets[index]?.write(requestTo(host))
    return await complete
  }

  /** Answers what was collected last, and waits until all of it has closed. */
  async answer(): Promise<void> {
    const closed = this.#collected.map(({ res }) => new Promise(resolve => res.once('close', resolve)))
    for (const { res } of this.#collected) res.end()
    await Promise.all(closed)
  }

  async #connect(): Promise<Socket> {
    if (!this.#server.listening) await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    const { port } = this.#server.address() as AddressInfo
    const socket = connect(port, '127.0.0.1').resume()
    await once(socket, 'connect')
    return socket
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy()
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
