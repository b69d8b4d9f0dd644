import { stat } from 'node:fs'
import { VhostError } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Settings } from '../options.ts'

/** Reports a missing base path: to clients it looks like a hostname without a vhost. */
export function expectBasePath({ basePath, getVhostPath }: Settings, events: Events): void {
  // With getVhostPath, vhosts need not lie in the base path.
  if (getVhostPath) return
  stat(basePath, (fault, stats) => {
    if (stats?.isDirectory()) return
    const cause = fault ?? new Error(`ENOTDIR: not a directory, ${basePath}`)
    const error = new VhostError('ERR_VHOST_LOAD', { detail: 'basePath is not a folder', cause })
    events.emit('error', { hostnames: [], realPath: basePath, version: undefined, error, serving: undefined })
  })
}
