import http from 'node:http'
import { clock } from './clock.ts'
import type { About, Answer, Asked, MotionLog } from './motion-log.ts'

/** An answer that takes this much longer than it was asked to counts as missing. */
const PATIENCE = 10 * 1000

/** Sends requests on one keep-alive connection. */
export class Client {
  readonly #port: number
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 })

  constructor(port: number) {
    this.#port = port
  }

  /**
   * `path` may contain how many milliseconds the answer should take: `/slow?500`. `body` is uploaded. After
   * `abortAfter` milliseconds the client leaves, and there is no answer.
   */
  async ask(log: MotionLog, path = '/', how: { body?: Buffer; abortAfter?: number } = {}): Promise<Answer> {
    const { body, abortAfter } = how
    const wait = Number(path.split('?')[1] ?? 0)
    const request = http.request({
      port: this.#port,
      agent: this.#agent,
      path,
      method: body ? 'POST' : 'GET',
      headers: { host: log.name },
      signal: AbortSignal.timeout(abortAfter ?? wait + PATIENCE),
    })
    const asked = log.ask()
    return await new Promise(resolve => {
      let text = ''
      const failed = (error: Error): void => {
        resolve({ path, asked, end: clock(), status: 0, text: `${error} after ${JSON.stringify(text)}` })
      }
      request.on('error', failed)
      request.on('response', response => {
        response.setEncoding('utf8')
        response.on('error', failed)
        response.on('data', data => {
          text += data
        })
        response.on('end', () => resolve(answerOf(path, asked, response.statusCode ?? 0, text, body?.length)))
      })
      request.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

function answerOf(path: string, asked: Asked, status: number, text: string, sent = 0): Answer {
  const answer = { path, asked, end: clock(), status, text }
  if (status !== 200) return answer
  try {
    const about: About = JSON.parse(text.replace(/^\.+/, ''))
    if (about.bytes !== sent) return { ...answer, status: 0 }
    return { ...answer, about }
  } catch {
    return answer
  }
}
