import type { VhostRouter } from '../../lib/index.ts'

/** The router lets 100 loads wait. */
const LANES = 50

/** Loads the apps of hosts ahead; throws if one of them has none. */
export async function loadAll(vhosts: VhostRouter, hosts: readonly string[]): Promise<void> {
  const left = [...hosts].reverse()
  const lane = async (): Promise<void> => {
    for (let host = left.pop(); host !== undefined; host = left.pop()) {
      if (!(await vhosts.load(host))) throw new Error(`${host} leads nowhere`)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}
