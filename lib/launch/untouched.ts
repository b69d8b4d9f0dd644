import type { IncomingMessage, ServerResponse } from 'node:http'
import { VhostError } from '../errors.ts'
import type { Next } from './launch.ts'

/** Takes a request that a crashed upstream left untouched. */
export type Redo = (req: IncomingMessage, res: ServerResponse, next: Next) => void

/**
 * What `next` gets when an app has crashed and left the request untouched: whoever handed the request over takes it
 * back and has it redone. To anybody else it is the error of the crash.
 */
export class Untouched extends VhostError {
  readonly redo: Redo

  constructor(hostname: string | undefined, redo: Redo) {
    super('ERR_VHOST_CRASHED', { hostname })
    this.redo = redo
  }
}
