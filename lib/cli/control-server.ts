import { existsSync, lstatSync, rmSync, type Stats } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { dirname, isAbsolute } from 'node:path'
import type { VhostRouter } from '../vhost-router.ts'
import { ControlAnswers } from './control-answers.ts'
import { checkSocketPath } from './control-socket.ts'
import { isAnswered } from './is-answered.ts'

/** How often to check that the socket is still there, in milliseconds. */
const LOOK_EVERY = 5000

export interface Control {
  /** Frees the path; answers under way go on. */
  close(): void
  /** Closes, ends the streams of events, and cuts off all other answers. */
  end(): void
}

/**
 * Answers the other commands over a Unix socket that this user alone may use (mode 0600). If somebody removes the
 * socket, it is made anew, once `prepare` has made its folder.
 * @throws Error if another server answers there, or the socket cannot be made
 */
export async function startControl(
  path: string,
  vhosts: VhostRouter,
  prepare: () => void = () => {},
): Promise<Control> {
  checkSocketPath(path)
  prepare()
  // The system would blame permissions instead.
  if (!existsSync(dirname(path)))
    throw new Error(`there is no folder ${dirname(path)}; choose another with --socket`)
  const seen = lstatSync(path, { throwIfNoEntry: false })
  if (await isAnswered(path)) throw taken()
  if (seen) removeLeftBehind(path, seen)
  const control = new ControlServer(path, new ControlAnswers(vhosts), prepare)
  await control.start()
  return control
}

class ControlServer implements Control {
  readonly #path: string
  readonly #answers: ControlAnswers
  readonly #prepare: () => void
  /** All but the last have lost their socket, and may still be answering. */
  readonly #servers: Server[] = []
  #looks: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(path: string, answers: ControlAnswers, prepare: () => void) {
    this.#path = path
    this.#answers = answers
    this.#prepare = prepare
  }

  async start(): Promise<void> {
    await this.#listen()
    // If the socket cannot be made now, the next check tries again.
    this.#looks = setInterval(() => void this.#restore().catch(() => {}), LOOK_EVERY).unref()
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#looks)
    this.#servers.at(-1)?.close()
  }

  end(): void {
    this.close()
    // The end of a stream is written at once if its reader has room, so the connection may be cut afterwards. A
    // suspended reader is not waited for.
    this.#answers.endStreams()
    for (const server of this.#servers) server.closeAllConnections()
  }

  async #restore(): Promise<void> {
    if (lstatSync(this.#path, { throwIfNoEntry: false })) return
    // Must come first: it would remove the socket of the next one.
    this.#servers.at(-1)?.close()
    this.#prepare()
    await this.#listen()
  }

  async #listen(): Promise<void> {
    const server = createServer((req, res) => void this.#answers.answer(req, res))
    await listenPrivately(server, this.#path)
    this.#servers.push(server)
    if (this.#isClosed) server.close()
  }
}

async function listenPrivately(server: Server, path: string): Promise<void> {
  const before = process.umask(0o177)
  try {
    // Node takes a number, even as `path`, for a port, which would be open to everybody.
    server.listen(isAbsolute(path) ? path : `./${path}`)
  } finally {
    process.umask(before)
  }
  await new Promise<void>((resolve, reject) =>
    server
      .once('listening', resolve)
      .once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? taken() : error)),
  )
  // The control server must not keep alive the server that it reports on.
  server.unref()
}

/**
 * Removes a socket that a killed server has left behind. `seen` was taken before anybody was asked: by now another
 * server may have its own socket there.
 * @throws Error if that is so, or if the path is no socket and may be somebody's work
 */
function removeLeftBehind(path: string, seen: Stats): void {
  if (!seen.isSocket())
    throw new Error(`${path} exists and is not a socket; choose another path with --socket`)
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats && (stats.ino !== seen.ino || stats.mtimeMs !== seen.mtimeMs)) throw taken()
  rmSync(path, { force: true })
}

function taken(): Error {
  return new Error(
    'another server or another user already has the control socket; choose another with --socket',
  )
}
