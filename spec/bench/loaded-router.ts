import { type VhostRouter, vhostRouter } from '../../lib/index.ts'
import { loadAll } from './load-all.ts'

/**
 * A router that has loaded all of these hosts and no longer looks at the disk: the bench `idle` measures the cost of
 * that.
 */
export async function loadedRouter(basePath: string, hosts: readonly string[]): Promise<VhostRouter> {
  const vhosts = vhostRouter({
    basePath,
    maxApps: hosts.length + 100,
    watch: false,
    updateInterval: 60 * 60 * 1000,
  })
  await loadAll(vhosts, hosts)
  return vhosts
}
