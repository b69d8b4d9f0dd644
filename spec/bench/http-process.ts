import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import expressVhost from 'express-vhost'
import vhost from 'vhost'
import { loadedRouter } from './loaded-router.ts'
import { shareHandler } from './shared-handler.ts'
import { answer } from './worker.ts'

export type Layer = 'ours' | 'bare Map' | 'vhost' | 'express-vhost'

interface StartQuestion {
  readonly layer: Layer
  readonly base: string
  readonly hosts: readonly string[]
}

export interface Ports {
  readonly plain: number
  readonly layered: number
}

const verbs = answer({ start, cpuMilliseconds })
export type HttpVerbs = typeof verbs

/**
 * Two servers in one process, so that both have the same luck with the compiler and the memory layout: one with the app
 * mounted directly, one with the layer before it.
 */
async function start({ layer, base, hosts }: StartQuestion): Promise<Ports> {
  const app = express()
  app.get('/', (_, res) => {
    res.end('hello')
  })
  const plain = express().use(app)
  const layered = express()
  await MOUNT[layer](layered, app, hosts, base)
  return { plain: await listen(plain), layered: await listen(layered) }
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

type Mount = (outer: Express, app: Express, hosts: readonly string[], base: string) => void | Promise<void>

const MOUNT: Record<Layer, Mount> = {
  ours: async (outer, app, hosts, basePath) => {
    shareHandler(app)
    const vhosts = await loadedRouter(basePath, hosts)
    outer.use(vhosts)
  },
  'bare Map': (outer, app, hosts) => {
    const byHost = new Map(hosts.map(host => [host, app]))
    outer.use((req, res, next) => byHost.get(req.headers.host as string)?.(req, res, next))
  },
  vhost: (outer, app, hosts) => {
    for (const host of hosts) outer.use(vhost(host, app as Handle) as never)
  },
  'express-vhost': (outer, app, hosts) => {
    for (const host of hosts) expressVhost.register(host, app as Handle)
    outer.use(expressVhost.vhost() as never)
  },
}

type Handle = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

async function listen(app: Express): Promise<number> {
  // Between its rounds a connection idles for longer than Node's default timeout.
  const server = createServer({ keepAliveTimeout: 5 * 60 * 1000 }, app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
