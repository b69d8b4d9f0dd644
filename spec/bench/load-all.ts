import Module, { createRequire } from 'node:module'
import type { VhostRouter } from '../../lib/index.ts'

const require = createRequire(import.meta.url)
const { _pathCache: pathCache = {} } = Module as unknown as { _pathCache?: Record<string, string> }

/** The router lets 100 loads wait. */
const LANES = 50

/** Loads the apps of hosts ahead; throws where one of them has none. */
export async function loadAll(vhosts: VhostRouter, hosts: readonly string[]): Promise<void> {
  const left = [...hosts].reverse()
  const lane = async (): Promise<void> => {
    for (let host = left.pop(); host !== undefined; host = left.pop()) {
      if (!(await vhosts.load(host))) throw new Error(`${host} leads nowhere`)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

/**
 * As `loadAll`, of thousands: Node is made to forget the modules meanwhile, because each load looks through all that
 * Node has, and it is not the load that is measured.
 */
export async function loadThousands(vhosts: VhostRouter, hosts: readonly string[]): Promise<void> {
  for (let start = 0; start < hosts.length; start += 100) {
    await loadAll(vhosts, hosts.slice(start, start + 100))
    for (const cache of [require.cache, pathCache]) {
      for (const key of Object.keys(cache)) if (key.includes('.bench.test')) delete cache[key]
    }
  }
}
