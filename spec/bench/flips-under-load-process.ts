import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { vhostRouter } from '../../lib/index.ts'
import { answer } from './worker.ts'

const verbs = answer({ start })
export type FlipsUnderLoadVerbs = typeof verbs

/** Serves a base path, and returns the port. */
async function start(basePath: string): Promise<number> {
  const vhosts = vhostRouter({ basePath })
  const server = createServer((req, res) => {
    vhosts(req, res, () => res.writeHead(404).end())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
