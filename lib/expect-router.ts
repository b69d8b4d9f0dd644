import type { VhostRouter } from './index.ts'
import { optionError } from './option-error.ts'

/** @throws TypeError `ERR_VHOST_OPTION` where what `owner` was given has not these members of a router */
export function expectRouter(owner: string, given: unknown, members: readonly (keyof VhostRouter)[]): void {
  const missing = members.find(name => typeof Object(given)[name] !== 'function')
  // Not what it is: it may be options, in which there are secrets.
  if (missing)
    throw optionError(`${owner} needs what vhostRouter() returns, not what has no ${String(missing)}()`)
}
