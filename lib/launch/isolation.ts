import { VhostError } from '../errors.ts'
import { checkGiven } from '../option-functions.ts'
import type { Isolation, Settings } from '../options.ts'
import type { VhostSettings } from '../vhost-settings.ts'

/** From the least to the most. */
const STRICTNESS: readonly Isolation[] = ['none', 'thread', 'process']

/**
 * Where a vhost is to run: where the router says, or stricter where the vhost itself asks for that.
 * @throws VhostError `ERR_VHOST_LOAD` where it asks for what it cannot have there, or nobody can tell
 */
export function isolationOf(
  realPath: string,
  own: VhostSettings,
  { isolation, user }: Pick<Settings, 'isolation' | 'user'>,
): Isolation {
  const chosen = typeof isolation === 'function' ? ask(isolation, realPath) : isolation
  const stricter = STRICTNESS.indexOf(own.isolation) > STRICTNESS.indexOf(chosen) ? own.isolation : chosen
  if (user === 'owner' && stricter !== 'process') {
    throw failure(`option 'user' needs isolation 'process', and this vhost has '${stricter}'`)
  }
  if (stricter === 'none' && Object.keys(own.env).length > 0) {
    // Its neighbours would have them, too; without them it would not run as it was meant to.
    throw failure(`"vhost" in its package.json: 'env' needs isolation, and this vhost has none`)
  }
  return stricter
}

function ask(choose: (vhost: { realPath: string }) => Isolation, realPath: string): Isolation {
  try {
    return checkGiven('isolation', choose({ realPath }))
  } catch (cause) {
    throw new VhostError('ERR_VHOST_LOAD', { cause })
  }
}

function failure(detail: string): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail })
}
