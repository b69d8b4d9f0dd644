import { VhostError } from '../errors.ts'
import { checkGiven } from '../options/option-functions.ts'
import type { Isolation, Settings } from '../options.ts'
import type { VhostSettings } from '../vhost-settings.ts'

/** From the least strict to the strictest. */
const STRICTNESS: readonly Isolation[] = ['none', 'thread', 'process']

/**
 * How a vhost is isolated: as the router says, or more strictly if the vhost itself asks for that.
 * @throws VhostError `ERR_VHOST_LOAD` if the vhost asks for what its isolation cannot give, or option `isolation` fails
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
    // Its neighbours would see these variables, too; without them it would not run as intended.
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
