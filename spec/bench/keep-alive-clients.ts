import { connect, type Socket } from 'node:net'

const OK = 'HTTP/1.1 200 '
/** One buffer for all reads: separate memory for each answer would be more work than the answer. */
const READ = Buffer.allocUnsafeSlow(128 * 1024)

/**
 * Connections that each send one request after another, or `depth` at a time. They do so little work that the server is
 * what is measured.
 */
export class KeepAliveClients {
  readonly #port: number
  readonly #connections: number
  readonly #depth: number
  readonly #clients: Client[] = []

  constructor(port: number, connections: number, depth = 1) {
    this.#port = port
    this.#connections = connections
    this.#depth = depth
  }

  /** Sends requests for this long. Resolves, after the last answer, with the number of answers. */
  async run(milliseconds: number, nextRequest: () => string | Buffer): Promise<number> {
    while (this.#clients.length < this.#connections)
      this.#clients.push(await Client.open(this.#port, this.#depth))
    const end = performance.now() + milliseconds
    const counts = await Promise.all(this.#clients.map(client => client.run(end, nextRequest)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** Sends each of these requests once. */
  async askEach(requests: readonly string[]): Promise<void> {
    const left = [...requests]
    const last = left.at(-1) as string
    while (left.length > 0) await this.run(50, () => left.pop() ?? last)
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close()
  }
}

class Client {
  readonly #socket: Socket
  readonly #depth: number
  #received = 0
  /** All answers have the same length; the first tells it. */
  #length = 0
  #heard: (chunk: Buffer) => void = () => {}
  #failed: (error: Error) => void = () => {}

  static async open(port: number, depth: number): Promise<Client> {
    const callback = (length: number): boolean => {
      client.#heard(READ.subarray(0, length))
      return true
    }
    const onread = { buffer: READ, callback }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    const client = new Client(socket, depth)
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return client
  }

  private constructor(socket: Socket, depth: number) {
    this.#socket = socket
    this.#depth = depth
    socket.on('error', error => this.#failed(error))
    socket.on('close', () => this.#failed(new Error('the server has closed the connection')))
  }

  async run(end: number, nextRequest: () => string | Buffer): Promise<number> {
    let count = 0
    await new Promise<void>((resolve, reject) => {
      const send = (): void => {
        this.#received = 0
        const first = nextRequest()
        const more = Array.from({ length: this.#depth - 1 }, nextRequest)
        // Bytes that were made once are sent as they are.
        this.#socket.write(more.length === 0 ? first : [first, ...more].join(''), 'latin1')
      }
      this.#failed = reject
      this.#heard = chunk => {
        if (this.#received === 0) this.#begin(chunk)
        this.#received += chunk.length
        const missing = this.#depth * this.#length - this.#received
        if (missing > 0) return
        if (missing < 0) return reject(new Error('an answer is longer than the first'))
        count += this.#depth
        if (performance.now() < end) send()
        else resolve()
      }
      send()
    })
    return count
  }

  #begin(chunk: Buffer): void {
    const head = chunk.toString('latin1', 0, OK.length)
    if (this.#length === 0) this.#length = lengthOf(chunk) ?? 0
    if (head === OK && this.#length > 0) return
    this.#failed(new Error(`not served: ${chunk.toString('latin1', 0, 200)}`))
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** The shortest request for a host. */
export function requestTo(host: string, path = '/'): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
}

function lengthOf(first: Buffer): number | undefined {
  const end = first.indexOf('\r\n\r\n')
  const [, length] = /^content-length: (\d+)/im.exec(first.toString('latin1', 0, end)) ?? []
  return end < 0 || length === undefined ? undefined : end + 4 + Number(length)
}
