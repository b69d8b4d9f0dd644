import { once } from 'node:events'
import http, { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import express from 'express'
import { type Isolation, vhostRouter } from '../../lib/index.ts'
import { answer } from './worker.ts'

interface StartQuestion {
  readonly base: string
  readonly host: string
  readonly isolation: Isolation
}

const verbs = answer({ start, reload, stall, firstAnswer, cpuMilliseconds, resident, close })
export type IsolationVerbs = typeof verbs

let router: { vhosts: ReturnType<typeof vhostRouter>; port: number } | undefined

/** Serves a folder whose app for the host is loaded; returns the port. */
async function start({ base, host, isolation }: StartQuestion): Promise<number> {
  const vhosts = vhostRouter({
    basePath: base,
    isolation,
    // The bench `idle` measures the cost of watching the disk.
    watch: false,
    updateInterval: 60 * 60 * 1000,
    maxApps: 10_000,
  })
  const server = createServer({ keepAliveTimeout: 5 * 60 * 1000 }, express().use(vhosts)).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  router = { vhosts, port }
  await firstAnswer(host)
  return port
}

async function reload(host: string): Promise<void> {
  await started().vhosts.reload(host)
}

/** How long the event loop stands still at most while an app loads, in milliseconds. */
async function stall(host: string): Promise<number> {
  let [longest, last] = [0, performance.now()]
  let isLoading = true
  const look = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (isLoading) setImmediate(look)
  }
  look()
  const release = await started().vhosts.load(host)
  isLoading = false
  if (!release) throw new Error(`${host} leads nowhere`)
  return longest
}

/** The milliseconds from a request for a host that is not loaded to the end of its answer. */
async function firstAnswer(host: string): Promise<number> {
  const begin = performance.now()
  const options = {
    port: started().port,
    host: '127.0.0.1',
    agent: false,
    headers: { host },
  } as const
  const [response] = (await once(http.get({ ...options, path: '/json' }), 'response')) as [IncomingMessage]
  await text(response)
  if (response.statusCode !== 200) throw new Error(`${host} was answered by ${response.statusCode}`)
  return performance.now() - begin
}

function started(): NonNullable<typeof router> {
  if (!router) throw new Error('there is no router yet')
  return router
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The resident memory of this process, in bytes. */
function resident(): number {
  const gc = globalThis.gc as () => void
  gc()
  return process.memoryUsage.rss()
}

async function close(): Promise<void> {
  await started().vhosts.close({ drainTimeout: 0 })
}
