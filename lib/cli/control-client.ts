import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'
import type { VhostExplanation } from '../explain.ts'
import { LINES } from './event-line.ts'

/** How long a server may take to begin its answer, in milliseconds: an app in its process may hold it up. */
const PATIENCE = 10_000

/** No server could be asked, or what answered is not express-van; the program exits with 3. */
export class ControlError extends Error {}

/** A running server's answer. */
export type Answer<T> =
  | { readonly isOk: true; readonly body: T }
  | { readonly isOk: false; readonly body: Reason }

interface Reason {
  readonly message: string
  readonly cause?: string
  readonly code?: string
  /** Set if the host leads to no app; if it is absent, the server has failed. */
  readonly outcome?: VhostExplanation['outcome']
}

type Method = 'GET' | 'POST'

/**
 * Asks a running server for an object with these keys. The server has `patience` milliseconds, except for a `POST`,
 * which may load an app. Rejects with a `ControlError`.
 */
export async function ask<T extends object>(
  socketPath: string,
  method: Method,
  path: string,
  keys: readonly (keyof T & string)[],
  patience: number = PATIENCE,
): Promise<Answer<T>> {
  const response = await open(socketPath, method, path, method === 'GET' ? patience : 0)
  const isOk = response.statusCode === 200
  const body = await json(response).catch(error => {
    throw error instanceof SyntaxError ? notOurs() : noAnswer(error)
  })
  const wanted = isOk ? keys : ['message']
  if (wanted.some(key => Object(body)[key] === undefined)) throw notOurs()
  return { isOk, body } as Answer<T>
}

/** The lines that a running server goes on sending, until it ends. Throws a `ControlError`. */
export async function* follow(socketPath: string, path: string): AsyncGenerator<string> {
  const response = await open(socketPath, 'GET', path, PATIENCE)
  if (response.headers['content-type'] !== LINES) {
    response.destroy()
    throw notOurs()
  }
  let rest = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      // JSON may contain U+2028, where node:readline would break a line.
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
  } catch (error) {
    throw noAnswer(error as Error)
  }
}

function open(socketPath: string, method: Method, path: string, patience: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, timeout: patience }, response => {
      asked.setTimeout(0)
      resolve(response)
    })
    asked
      .on('timeout', () => asked.destroy(silent(patience)))
      .on('error', error => reject(error instanceof ControlError ? error : noAnswer(error)))
      .end()
  })
}

function silent(patience: number): ControlError {
  return new ControlError(
    `no server answers: the one that is there has said nothing for ${patience / 1000} s`,
  )
}

function noAnswer({ code = '', message }: NodeJS.ErrnoException): ControlError {
  if (code.startsWith('HPE_')) return notOurs()
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return new ControlError('no server answers: the connection broke off')
  if (code === 'EACCES' || code === 'EPERM') return elsewhere("the one that is there is another user's")
  if (code === 'EAGAIN') return elsewhere('the one that is there is suspended')
  const isAbsent = code === 'ENOENT' || code === 'ECONNREFUSED'
  return elsewhere(isAbsent ? 'no `express-van serve` of this user runs there' : code || message)
}

function notOurs(): ControlError {
  return elsewhere('what listens there is not express-van')
}

function elsewhere(reason: string): ControlError {
  return new ControlError(`no server answers: ${reason}; choose a server with --port or --socket`)
}
