import { once } from 'node:events'
import { realpath, stat } from 'node:fs/promises'
import http, { createServer, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type VhostRouter, type VhostRouterOptions, vhostRouter } from '../../lib/index.ts'
import { inotifyWatches } from '../support/process-state.ts'
import { loadAll } from './load-all.ts'
import { answer } from './worker.ts'

export interface Memory {
  /** Bytes of the heap and of the external memory that it holds. */
  readonly heap: number
  readonly resident: number
}

const require = createRequire(import.meta.url)
let vhosts: VhostRouter

const verbs = answer({
  start,
  load,
  loadTimed,
  reloadTimed,
  requireAll,
  poll,
  memory,
  cpuMilliseconds,
  watches: inotifyWatches,
})
export type RouterVerbs = typeof verbs

/** Makes a router, asks it for one host, and returns the milliseconds to the end of the answer. */
async function start({ options, host }: { options: VhostRouterOptions; host: string }): Promise<number> {
  const begin = performance.now()
  vhosts = vhostRouter(options)
  const server = createServer((req, res) => {
    vhosts(req, res, () => res.writeHead(404).end())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const request = http.get({ port, host: '127.0.0.1', agent: false, headers: { host } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  await text(response)
  if (response.statusCode !== 200) throw new Error(`${host} was answered by ${response.statusCode}`)
  return performance.now() - begin
}

async function load(hosts: readonly string[]): Promise<void> {
  await loadAll(vhosts, hosts)
}

/** For each host in turn, the milliseconds that its load takes. */
async function loadTimed(hosts: readonly string[]): Promise<number[]> {
  return await timedEach(hosts, host => vhosts.load(host))
}

async function reloadTimed(hosts: readonly string[]): Promise<number[]> {
  return await timedEach(hosts, host => vhosts.reload(host))
}

async function timedEach(
  hosts: readonly string[],
  act: (host: string) => Promise<unknown>,
): Promise<number[]> {
  const times: number[] = []
  for (const host of hosts) {
    const begin = performance.now()
    if (!(await act(host))) throw new Error(`${host} leads nowhere`)
    times.push(performance.now() - begin)
  }
  return times
}

/** The same apps without a router. */
function requireAll({ base, hosts }: { base: string; hosts: readonly string[] }): void {
  for (const host of hosts) require(join(base, host, 'app'))
}

/**
 * Checks each second whether the folders of hosts are still the same, four at a time, as a first implementation would.
 */
function poll({ base, hosts }: { base: string; hosts: readonly string[] }): void {
  const look = async (): Promise<void> => {
    const left = [...hosts]
    const lane = async (): Promise<void> => {
      for (let host = left.pop(); host !== undefined; host = left.pop()) {
        await stat(await realpath(join(base, host)), { bigint: true })
      }
    }
    await Promise.all([lane(), lane(), lane(), lane()])
  }
  setInterval(() => void look(), 1000)
}

async function memory(): Promise<Memory> {
  const gc = globalThis.gc as () => void
  for (let round = 0; round < 5; round++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed + external, resident: rss }
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
