import type { VhostRouter } from './index.ts'
import { optionError } from './options/option-error.ts'

/** @throws TypeError `ERR_VHOST_OPTION` if what `owner` was given lacks one of these members of a router */
export function expectRouter(owner: string, given: unknown, members: readonly (keyof VhostRouter)[]): void {
  const missing = members.find(name => typeof Object(given)[name] !== 'function')
  // The message does not show the value: it may be options, which may hold secrets.
  if (missing)
    throw optionError(
      `${owner} needs the router that vhostRouter() returns, not a value without ${String(missing)}()`,
    )
}
