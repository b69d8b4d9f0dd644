import { type Figure, medianOf } from './figure.ts'
import type { HttpVerbs, Layer } from './http-process.ts'
import { KeepAliveClients, requestTo } from './keep-alive-clients.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { pick } from './random.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, roundByRound } from './rounds.ts'
import { SHARED_HANDLER_SOURCE } from './shared-handler.ts'
import { hostnames, Sites } from './sites.ts'
import { Worker } from './worker.ts'

const HOSTS = [1, 100, 10_000]
/** Connections, and requests at a time on each: as browsers and proxies ask, for the requests a second. */
const SINGLY = [32, 1] as const
/** So that what the kernel does for a request is little beside what is to be measured: for the CPU time. */
const IN_BURSTS = [8, 16] as const
/** Short, so that what slows the machine down for a while slows down both. */
const ROUND_MS = 50
const WARM_UP = 6
const ROUNDS: Record<Mode, { ours: number; peers: number }> = {
  check: { ours: 30, peers: 8 },
  short: { ours: 30, peers: 6 },
  full: { ours: 500, peers: 150 },
}
const PEERS: readonly Layer[] = ['bare Map', 'vhost', 'express-vhost']
/** Microseconds. */
const TARGET = 1

interface Cost {
  /** CPU time of a request above the same app without the layer, in µs. */
  readonly cpu: Figure
  /** Requests per second, of those without the layer. */
  readonly throughput: Figure
}

/** Requests over real connections, to an Express app behind the layer and to the same one without it. */
export async function measure(mode: Mode): Promise<Measure[]> {
  const [cpu, throughput]: [Measure[], Measure[]] = [[], []]
  for (const hosts of HOSTS) {
    const ours = await costOf('ours', hosts, ROUNDS[mode].ours)
    const peers: [Layer, Cost][] = []
    for (const layer of PEERS) {
      // A long chain may end its process.
      const unmeasured = (error: Error): Cost => ({
        cpu: { reason: error.message },
        throughput: { reason: error.message },
      })
      peers.push([layer, await costOf(layer, hosts, ROUNDS[mode].peers).catch(unmeasured)])
    }
    const at = namedCount(hosts, 'vhost')
    cpu.push({
      name: `CPU per request above plain Express, ${at}`,
      unit: 'µs',
      ours: ours.cpu,
      beside: Object.fromEntries(peers.map(([layer, cost]) => [layer, cost.cpu])),
      limit: TARGET,
      hosts,
    })
    throughput.push({
      name: `requests/s against plain Express, ${at}`,
      unit: '×',
      ours: ours.throughput,
      beside: {
        ...Object.fromEntries(peers.map(([layer, cost]) => [layer, cost.throughput])),
        ...measuredElsewhere(`requests/s, ${at}`),
      },
      hosts,
    })
  }
  return [...cpu, ...throughput]
}

async function costOf(layer: Layer, count: number, rounds: number): Promise<Cost> {
  using sites = Sites.inMemory()
  const hosts = sites.add(layer === 'ours' ? count : 0, SHARED_HANDLER_SOURCE)
  if (layer !== 'ours') hosts.push(...hostnames(count))
  await using worker = new Worker<HttpVerbs>('http-process')
  const ports = await worker.ask('start', { layer, base: sites.base, hosts })
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
  const schedule = { rounds, warmUp: WARM_UP }
  const cpu = await interleaved(
    { plain: () => cpuPerRequest(plainInBursts), layered: () => cpuPerRequest(layeredInBursts) },
    schedule,
  )
  const rate = await interleaved(
    { plain: () => perSecond(plainSingly), layered: () => perSecond(layeredSingly) },
    schedule,
  )
  return {
    cpu: medianOf(roundByRound(cpu.layered, cpu.plain, (one, bare) => one - bare)),
    throughput: medianOf(roundByRound(rate.layered, rate.plain, (one, bare) => one / bare)),
  }
}
