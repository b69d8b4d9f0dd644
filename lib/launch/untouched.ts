import type { IncomingMessage, ServerResponse } from 'node:http'
import { VhostError } from '../errors.ts'
import type { Next } from './launch.ts'

/** Takes a request that an upstream which has crashed left untouched. */
export type Redo = (req: IncomingMessage, res: ServerResponse, next: Next) => void

/**
 * What `next` is called with where an app has crashed and left the request untouched: whoever handed it over lets go of
 * it and has it redone. To anybody else it is the error that the crash is.
 */
export class Untouched extends VhostError {
  readonly redo: Redo

  constructor(hostname: string | undefined, redo: Redo) {
    super('ERR_VHOST_CRASHED', { hostname })
    this.redo = redo
  }
}
