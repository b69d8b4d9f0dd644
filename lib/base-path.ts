import { stat } from 'node:fs'
import { VhostError } from './errors.ts'
import type { Events } from './events.ts'
import type { Settings } from './options.ts'

/** Tells of a base path that is not there, which clients cannot tell from a name that is not. */
export function expectBasePath({ basePath, getVhostPath }: Settings, events: Events): void {
  // Which need not lead there.
  if (getVhostPath) return
  stat(basePath, (fault, stats) => {
    if (stats?.isDirectory()) return
    const cause = fault ?? new Error(`ENOTDIR: not a directory, ${basePath}`)
    const error = new VhostError('ERR_VHOST_LOAD', { detail: 'basePath is no folder', cause })
    events.emit('error', { hostnames: [], realPath: basePath, version: undefined, error, serving: undefined })
  })
}
