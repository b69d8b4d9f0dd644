import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'
import { LINES } from './event-line.ts'

/** No server could be asked, or what was asked is none; the program ends with 3. */
export class ControlError extends Error {}

/** What a running server says to a question. */
export type Answer<T> =
  | { readonly isOk: true; readonly body: T }
  | { readonly isOk: false; readonly body: { readonly message: string; readonly cause?: string } }

type Method = 'GET' | 'POST'

/** Asks a running server for what has these keys. Rejects with a `ControlError`. */
export async function ask<T extends object>(
  socketPath: string,
  method: Method,
  path: string,
  keys: readonly (keyof T & string)[],
): Promise<Answer<T>> {
  const response = await open(socketPath, method, path)
  const isOk = response.statusCode === 200
  const body = await json(response).catch(error => {
    throw error instanceof SyntaxError ? notOurs() : noAnswer(error)
  })
  const wanted = isOk ? keys : ['message']
  if (wanted.some(key => Object(body)[key] === undefined)) throw notOurs()
  return { isOk, body } as Answer<T>
}

/** The lines of what a running server goes on to tell, until it ends. Throws a `ControlError`. */
export async function* follow(socketPath: string, path: string): AsyncGenerator<string> {
  const response = await open(socketPath, 'GET', path)
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

function open(socketPath: string, method: Method, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, method, path }, resolve)
      .on('error', error => reject(noAnswer(error)))
      .end()
  })
}

function noAnswer({ code = '', message }: NodeJS.ErrnoException): ControlError {
  if (code.startsWith('HPE_')) return notOurs()
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return new ControlError('no server answers: the connection broke off')
  const isAbsent = code === 'ENOENT' || code === 'ECONNREFUSED'
  return elsewhere(isAbsent ? 'no `express-van serve` of this user runs there' : code || message)
}

function notOurs(): ControlError {
  return elsewhere('what listens there is no express-van')
}

function elsewhere(reason: string): ControlError {
  return new ControlError(`no server answers: ${reason}; which one is told by --port or --socket`)
}
