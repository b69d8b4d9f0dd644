import { type IncomingMessage, request } from 'node:http'
import { json } from 'node:stream/consumers'

/** No server could be asked; the program ends with 3. */
export class ControlError extends Error {}

/** Asks a running server. Resolves to its answer and whether that is good; rejects with a `ControlError`. */
export async function ask<T>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
): Promise<{ isOk: boolean; body: T }> {
  const response = await open(socketPath, method, path)
  return { isOk: response.statusCode === 200, body: (await json(response)) as T }
}

/** The answer of a running server as it comes. Rejects with a `ControlError`. */
export function open(socketPath: string, method: 'GET' | 'POST', path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, method, path }, resolve)
      .on('error', (error: NodeJS.ErrnoException) => {
        const isAbsent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
        const reason = isAbsent ? 'none of this user runs there' : (error.code ?? error.message)
        reject(new ControlError(`no server answers: ${reason}; which one is told by --port or --socket`))
      })
      .end()
  })
}
