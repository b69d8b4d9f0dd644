import type { IncomingMessage, ServerResponse } from 'node:http'

/** Whether an answer waits for those before it on a pipelined connection: only then it has no socket yet. */
export function isQueued(req: IncomingMessage, res: ServerResponse): boolean {
  return req.httpVersionMajor < 2 && !res.socket
}
