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
const CONNECTIONS = 32
/** Short, so that what slows the machine down for a while slows down both. */
const ROUND_MS = 50
const WARM_UP = 12
const ROUNDS: Record<Mode, Record<Layer, number>> = {
  check: { ours: 30, vhost: 9, 'express-vhost': 9 },
  short: { ours: 90, vhost: 15, 'express-vhost': 15 },
  full: { ours: 900, vhost: 150, 'express-vhost': 150 },
}
const PEERS: readonly Layer[] = ['vhost', 'express-vhost']
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
      peers.push([layer, await costOf(layer, hosts, ROUNDS[mode][layer]).catch(unmeasured)])
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
  using plainClients = new KeepAliveClients(ports.plain, CONNECTIONS)
  using layeredClients = new KeepAliveClients(ports.layered, CONNECTIONS)
  const rates = { plain: [] as number[], layered: [] as number[] }

  const cpuPerRequest = async (clients: KeepAliveClients, into: number[]): Promise<number> => {
    const [cpu, start] = [await worker.ask('cpuMilliseconds', undefined), performance.now()]
    const requests = await clients.run(ROUND_MS, () => requestTo(pick(hosts)))
    into.push((1000 * requests) / (performance.now() - start))
    return (1000 * ((await worker.ask('cpuMilliseconds', undefined)) - cpu)) / requests
  }
  const { plain, layered } = await interleaved(
    {
      plain: () => cpuPerRequest(plainClients, rates.plain),
      layered: () => cpuPerRequest(layeredClients, rates.layered),
    },
    { rounds, warmUp: WARM_UP },
  )
  const ratios = roundByRound(rates.layered, rates.plain, (one, bare) => one / bare).slice(WARM_UP)
  return {
    cpu: medianOf(roundByRound(layered, plain, (one, bare) => one - bare)),
    throughput: medianOf(ratios),
  }
}
