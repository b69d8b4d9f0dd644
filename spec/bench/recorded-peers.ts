import type { Recorded } from './figure.ts'

const MACHINE = 'measured apart, once: Debian 12 on two shared cores'
const APACHE = `mod-wsgi-van 1.0.0, mod_wsgi 4.9.4, Apache 2.4.71, Python 3.11.2; ${MACHINE}`
const PASSENGER = `Passenger 6.0.17 (Debian), Node 20.20.2; ${MACHINE}`
const WRK = `vhost 3.0.2, Express 5.3.0, Node 20.20.2, wrk -t1 -c32, last of the hosts; ${MACHINE}`
const CHOKIDAR = `chokidar on a folder with 10,000 entries; ${MACHINE}`
const NODE = `Node 20.20.2; ${MACHINE}`

/** Figures that this suite cannot measure; this is the only place that states them. */
const RECORDED: readonly [measure: string, peer: string, recorded: number, source: string][] = [
  ['requests/s, 1 vhost', 'vhost', 0.97, WRK],
  ['requests/s, 100 vhosts', 'vhost', 0.61, WRK],
  ['requests/s, 10,000 vhosts', 'vhost', 0.02, WRK],
  ['requests/s behind another process', 'Passenger', 0.094, PASSENGER],
  ['flip', 'mod-wsgi-van', 519, APACHE],
  ['flip', 'Passenger', 172, PASSENGER],
  ['flips lost', 'mod-wsgi-van of 50', 2, APACHE],
  ['start-up', 'chokidar, 10,000 folders', 1800, CHOKIDAR],
  ['memory of folders', 'chokidar, 10,000 folders', 49, CHOKIDAR],
  ['idle', 'plain polling', 45, NODE],
  ['unknown name', 'bare fs.stat', 5.2, NODE],
  ['memory of a vhost', 'mod-wsgi-van', 9, APACHE],
]

/** The figures that peers reached elsewhere, by label. */
export function measuredElsewhere(measure: string): Record<string, Recorded> {
  const rows = RECORDED.filter(([name]) => name === measure)
  if (rows.length === 0) throw new Error(`nothing is recorded of ${measure}`)
  return Object.fromEntries(
    rows.map(([, peer, recorded, source]) => [`${peer}, elsewhere`, { recorded, source }]),
  )
}
