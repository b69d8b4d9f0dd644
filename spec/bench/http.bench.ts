import { type Figure, medianOf } from './figure.ts'
import type { HttpVerbs, Layer, Ports } from './http-process.ts'
import { KeepAliveClients, requestTo } from './keep-alive-clients.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { pick } from './random.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, roundByRound } from './rounds.ts'
import { SHARED_HANDLER_SOURCE } from './shared-handler.ts'
import { hostnames, Sites } from './sites.ts'
import { Worker } from './worker.ts'

/**
 * How many vhosts are known, and how many of them are asked, as in the bench `dispatch`. For rows where both are large,
 * which show the cost of distant memory, the yardstick says more than a peer.
 */
const ROWS: readonly { hosts: number; asked: readonly number[] }[] = [
  { hosts: 1, asked: [1] },
  { hosts: 100, asked: [100] },
  { hosts: 10_000, asked: [100, 10_000] },
]
/** Connections, and requests at a time on each. For requests per second: as browsers and proxies ask. */
const SINGLY = [32, 1] as const
/** For CPU time: bursts make the kernel's share of a request small beside what is measured. */
const IN_BURSTS = [8, 16] as const
/** In milliseconds. Rounds are short, so that a temporary slowdown of the machine hits both. */
const ROUND_MS = 40
/** What the CPU rounds have warmed up is warm for the requests per second. */
const WARM_UP: Rounds = { cpu: 5, rate: 2 }
const ROUNDS: Record<Mode, { ours: Rounds; peers: Rounds }> = {
  check: { ours: { cpu: 30, rate: 8 }, peers: { cpu: 8, rate: 4 } },
  short: { ours: { cpu: 48, rate: 8 }, peers: { cpu: 6, rate: 4 } },
  full: { ours: { cpu: 500, rate: 500 }, peers: { cpu: 150, rate: 150 } },
}
const PEERS: readonly Layer[] = ['bare Map', 'vhost', 'express-vhost']
/** In microseconds. */
const TARGET = 1

/** CPU time is the finer measure, and gets more rounds. */
interface Rounds {
  readonly cpu: number
  readonly rate: number
}

interface Cost {
  /** CPU time per request beyond that of the same app without the layer, in µs. */
  readonly cpu: Figure
  /** Requests per second, as a ratio to those without the layer. */
  readonly throughput: Figure
}

/** Requests over real connections, to an Express app behind the layer and to the same one without it. */
export async function measure(mode: Mode): Promise<Measure[]> {
  const [cpu, throughput]: [Measure[], Measure[]] = [[], []]
  const { ours, peers } = ROUNDS[mode]
  for (const { hosts, asked } of ROWS) {
    const costs = await costsOf('ours', hosts, asked, ours)
    const beside: [Layer, Cost[]][] = []
    for (const layer of PEERS) {
      const some = layer === 'bare Map' ? asked : asked.slice(0, 1)
      // A long chain may end its own process.
      const unmeasured = (error: Error): Cost[] =>
        some.map(() => ({ cpu: { reason: error.message }, throughput: { reason: error.message } }))
      beside.push([layer, await costsOf(layer, hosts, some, peers).catch(unmeasured)])
    }
    for (const [row, cost] of costs.entries()) {
      const figures = (kind: keyof Cost): Record<string, Figure> =>
        Object.fromEntries(beside.flatMap(([layer, all]) => (all[row] ? [[layer, all[row][kind]]] : [])))
      const at = named(hosts, asked[row] as number)
      cpu.push({
        name: `CPU per request above plain Express, ${at}`,
        unit: 'µs',
        ours: cost.cpu,
        beside: figures('cpu'),
        limit: TARGET,
      })
      throughput.push({
        name: `requests/s against plain Express, ${at}`,
        unit: '×',
        ours: cost.throughput,
        beside: {
          ...figures('throughput'),
          ...(row === 0 ? measuredElsewhere(`requests/s, ${namedCount(hosts, 'vhost')}`) : {}),
        },
        // The chart has one point for each number of vhosts.
        ...(row === 0 ? { hosts } : {}),
      })
    }
  }
  return [...cpu, ...throughput]
}

function named(hosts: number, asked: number): string {
  return `${namedCount(hosts, 'vhost')}${asked < hosts ? `, ${asked} of them asked` : ''}`
}

/** One cost for each number of asked hosts, which are the last of all: a chain reaches them through the others. */
async function costsOf(
  layer: Layer,
  count: number,
  asked: readonly number[],
  rounds: Rounds,
): Promise<Cost[]> {
  using sites = Sites.inMemory()
  const hosts = sites.add(layer === 'ours' ? count : 0, SHARED_HANDLER_SOURCE)
  if (layer !== 'ours') hosts.push(...hostnames(count))
  await using worker = new Worker<HttpVerbs>('http-process')
  const ports = await worker.ask('start', { layer, base: sites.base, hosts })
  const costs: Cost[] = []
  for (const some of asked) costs.push(await costOf(worker, ports, hosts.slice(-some), rounds))
  return costs
}

async function costOf(
  worker: Worker<HttpVerbs>,
  ports: Ports,
  hosts: readonly string[],
  rounds: Rounds,
): Promise<Cost> {
  using plainSingly = new KeepAliveClients(ports.plain, ...SINGLY)
  using plainInBursts = new KeepAliveClients(ports.plain, ...IN_BURSTS)
  using layeredSingly = new KeepAliveClients(ports.layered, ...SINGLY)
  using layeredInBursts = new KeepAliveClients(ports.layered, ...IN_BURSTS)
  const ask = (clients: KeepAliveClients): Promise<number> =>
    clients.run(ROUND_MS, () => requestTo(pick(hosts)))
  const cpuPerRequest = async (clients: KeepAliveClients): Promise<number> => {
    const before = await worker.ask('cpuMilliseconds', undefined)
    const requests = await ask(clients)
    return (1000 * ((await worker.ask('cpuMilliseconds', undefined)) - before)) / requests
  }
  const perSecond = async (clients: KeepAliveClients): Promise<number> => {
    const start = performance.now()
    return (1000 * (await ask(clients))) / (performance.now() - start)
  }
  // What is made at a name's first request belongs to its load. The warm-up picks names at random and misses most.
  await layeredSingly.askEach(hosts.map(host => requestTo(host)))
  const cpu = await interleaved(
    { plain: () => cpuPerRequest(plainInBursts), layered: () => cpuPerRequest(layeredInBursts) },
    { rounds: rounds.cpu, warmUp: WARM_UP.cpu },
  )
  const rate = await interleaved(
    { plain: () => perSecond(plainSingly), layered: () => perSecond(layeredSingly) },
    { rounds: rounds.rate, warmUp: WARM_UP.rate },
  )
  return {
    cpu: medianOf(roundByRound(cpu.layered, cpu.plain, (one, bare) => one - bare)),
    throughput: medianOf(roundByRound(rate.layered, rate.plain, (one, bare) => one / bare)),
  }
}
