import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'

/** What is known of one connection. */
interface Use {
  /** Answers under way, in the order of their requests. */
  readonly answers: Set<ServerResponse>
  /** Bytes received when the last answer was over: if there are more, a request is on its way. */
  bytesRead: number
}

/**
 * The connections of a server that must end without cutting an answer. Its own `close()` cuts answers that have ended
 * but are not yet sent. It also leaves the other connections open for a next request, which nobody would answer.
 */
export class Connections {
  readonly #server: Server
  readonly #uses = new Map<Socket, Use>()
  #isEnding = false
  #answered: () => void = () => {}

  /** Must be made before the server has listeners that answer. */
  constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#uses.set(socket, { answers: new Set(), bytesRead: 0 })
      socket.once('close', () => this.#leave(socket))
    })
    server.on('request', (req, res) => this.#note(req, res))
    // From then on, whoever takes the upgrade is responsible.
    server.on('upgrade', ({ socket }) => this.#leave(socket))
  }

  /** Takes no new connections, and closes each when its last answer is over. Settles when no answer is under way. */
  end(): Promise<void> {
    this.#isEnding = true
    NetServer.prototype.close.call(this.#server)
    for (const [socket, use] of this.#uses) {
      // Of several, the last one: after it the client must read no more.
      const last = [...use.answers].at(-1)
      if (last) announceEnd(last)
      else closeIfIdle(socket, use)
    }
    return new Promise(resolve => {
      this.#answered = resolve
      this.#tellIfAnswered()
    })
  }

  #note(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    const use = this.#uses.get(socket)
    if (!use) return
    use.answers.add(res)
    if (this.#isEnding) announceEnd(res)
    const over = (): void => {
      use.answers.delete(res)
      use.bytesRead = socket.bytesRead
      if (!this.#isEnding) return
      if (use.answers.size === 0) closeIfIdle(socket, use)
      this.#tellIfAnswered()
    }
    // A client that is still sending after an early answer would never read it if the connection were closed.
    res.once('close', () => (req.complete ? over() : req.once('close', over)))
  }

  #leave(socket: Socket): void {
    this.#uses.delete(socket)
    if (this.#isEnding) this.#tellIfAnswered()
  }

  #tellIfAnswered(): void {
    for (const { answers } of this.#uses.values()) if (answers.size > 0) return
    this.#answered()
  }
}

/** Not by a header: whoever turns the answer into an error would remove it. */
function announceEnd(res: ServerResponse): void {
  res.shouldKeepAlive = false
}

function closeIfIdle(socket: Socket, { bytesRead }: Use): void {
  if (bytesRead > 0 && bytesRead === socket.bytesRead) socket.destroySoon()
}
