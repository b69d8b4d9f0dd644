import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorPage } from '../error-page.ts'
import { VhostError } from '../errors.ts'
import type { Next } from '../launch/launch.ts'
import { cutAnswer } from './cut-answer.ts'

const NOT_FOUND = { status: 404 }
const answer = errorPage({ show: false })

/**
 * The `next` for a handler that is given none, such as a server's listener: answers with 404, or with the status of an
 * error, as text. What an app threw goes to stderr; what kept it from being loaded is reported by the `error` event.
 */
export function finalAnswer(req: IncomingMessage, res: ServerResponse): Next {
  return error => {
    if (error && !(error instanceof VhostError)) console.error(error)
    answer(error || NOT_FOUND, req, res, () => cutAnswer(res))
  }
}
