import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { type Isolation, vhostRouter } from '../../lib/index.ts'
import { heapInUse, type ProcessState, processState } from '../support/process-state.ts'

/** What the soak may ask the serving process to do. */
export interface Verbs {
  /** Resolves when the process has got round to it, and has read something from the disk. */
  beat(): Promise<void>
  stats(): ReturnType<typeof vhosts.stats>
  reload(host: string): Promise<boolean>
  state(): Promise<ProcessState & { heap: number }>
  close(): Promise<void>
}

export interface Question {
  readonly id: number
  readonly verb: keyof Verbs
  readonly value: string
}

export interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

const [basePath = '', watch = 'true', isolation = 'none'] = process.argv.slice(2)
const vhosts = vhostRouter({
  basePath,
  vhostDir: ['%0/current', '%0'],
  watch: watch === 'true',
  isolation: isolation as Isolation,
})
vhosts.on('error', () => {})

const app = express()
app.use(vhosts)
app.use((req, res) => {
  res.status(404).send(`nobody serves ${req.vhost?.hostname}`)
})
app.use((error: Error & { status?: number }, _: unknown, res: express.Response, __: unknown) => {
  res.status(error.status ?? 500).send(`${error.message}: ${error.cause}`)
})
// Otherwise a connection may be closed just when the client uses it again.
const server = createServer({ keepAliveTimeout: 60 * 60 * 1000 }, app)
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))

const verbs: Verbs = {
  beat: async () => {
    await stat(basePath)
  },
  stats: () => vhosts.stats(),
  reload: async host => (await vhosts.reload(host)) !== undefined,
  state: async () => ({ heap: await heapInUse(), ...processState() }),
  close: () => vhosts.close(),
}

async function replyTo(verb: keyof Verbs, value: string): Promise<Omit<Reply, 'id'>> {
  try {
    return { value: await verbs[verb](value) }
  } catch (error) {
    return { error: `${error}: ${(error as Error).cause}` }
  }
}

process.on('message', ({ id, verb, value }: Question) => {
  void replyTo(verb, value).then(reply => process.send?.({ id, ...reply }))
})
process.on('disconnect', () => process.exit())
