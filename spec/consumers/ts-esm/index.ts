import assert from 'node:assert/strict'
import { type EventEmitter, once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import vhostRouterByDefault, {
  type EvictReason,
  type Release,
  type StaticOptions,
  treeVersion,
  type VhostError,
  type VhostErrorCode,
  type VhostEvents,
  type VhostExplanation,
  type VhostFolder,
  type VhostInfo,
  type VhostRouter,
  type VhostRouterOptions,
  type VhostStats,
  vhostAlias,
  vhostRouter,
} from 'express-van'
import { type ErrorPageOptions, errorPage } from 'express-van/error-page'
import { type StatusPageOptions, statusPage } from 'express-van/status-page'
import { type VhostTls, type VhostTlsOptions, vhostTls } from 'express-van/tls'

assert.equal(vhostRouterByDefault, vhostRouter)
const aliased: string = vhostAlias('%-2+/%1')('aries.test')
assert.equal(typeof aliased, 'string')

const basePath = mkdtempSync(join(tmpdir(), 'express-van-ts-esm-'))
mkdirSync(join(basePath, 'aries.test/app'), { recursive: true })
writeFileSync(
  join(basePath, 'aries.test/app/index.js'),
  "module.exports = (req, res) => res.end('aries sees ' + req.vhost.hostname)",
)

const options: VhostRouterOptions = { basePath, getVersion: treeVersion, updateInterval: 500 }
const staticOptions: StaticOptions = { dir: 'static', links: 'none' }
const vhosts: VhostRouter = vhostRouter(options)
const documents = vhosts.static(staticOptions)
const server = http.createServer((req, res) => {
  documents(req, res, () => vhosts(req, res, error => res.writeHead(error ? 500 : 404).end()))
})
server.on('upgrade', vhosts.upgrade)
server.listen(0, '127.0.0.1')
try {
  await once(server, 'listening')
  assert.deepEqual(await get('aries.test'), [200, 'aries sees aries.test'])
  assert.equal((await get('taurus.test'))[0], 404)

  const release: Release | undefined = await vhosts.load('aries.test')
  const stats: VhostStats = vhosts.stats()
  const explanation: VhostExplanation = await vhosts.why('aries.test')
  assert.equal(explanation.outcome, 'app')
  assert.ok(release && stats)
  const folder: VhostFolder | undefined = await vhosts.lookup('aries.test')
  assert.equal(folder?.isExact, true)
  const tlsOptions: VhostTlsOptions = {
    onError: (error, { realPath, serving }) => [error, realPath, serving],
  }
  const tls: VhostTls = vhostTls(vhosts, tlsOptions)
  https.createServer({ SNICallback: tls.SNICallback }, (req, res) =>
    tls.misdirected(req, res, () => res.end()),
  )
  http2.createSecureServer({ SNICallback: tls.SNICallback }, vhosts)
  http2.createSecureServer({ SNICallback: tls.SNICallback }, (req, res) =>
    tls.misdirected(req, res, () => vhosts.static()(req, res, () => vhosts(req, res, () => res.end()))),
  )
  http.createServer(tls.ask({ dir: 'public' }))
  const pageOptions: StatusPageOptions = {
    host: 'status.test',
    authorize: req => req.headers.cookie === 'yes',
  }
  const errorOptions: ErrorPageOptions = { show: false }
  const page = statusPage(vhosts, pageOptions)
  const errors = errorPage(errorOptions)
  http.createServer((req, res) => page(req, res, error => errors(error, req, res, () => {})))
  http2.createServer((req, res) => page(req, res, error => errors(error, req, res, () => {})))
} finally {
  await vhosts.close({ drainTimeout: 0 })
  server.close()
  rmSync(basePath, { recursive: true })
}
console.log('ok ts-esm')

async function get(host: string): Promise<[status: number | undefined, body: string]> {
  const { port } = server.address() as AddressInfo
  const request = http.get({ host: '127.0.0.1', port, headers: { host }, agent: false })
  const response: http.IncomingMessage = (await once(request, 'response'))[0]
  return [response.statusCode, await text(response)]
}

/** Never called: what is inferred here has to have a name for whoever writes declarations. */
export const inferred = {
  lastErrors: () => vhosts.stats().vhosts.map(({ lastError }) => lastError),
  lastExits: () => vhosts.stats().vhosts.map(({ lastExit }) => lastExit),
  versions: async () => (await vhosts.why('aries.test')).version,
  withDefaults: (given: VhostRouterOptions) => ({ ...given, basePath }),
  on: vhosts.on,
  request: (...[req]: Parameters<typeof vhosts>) => req,
  documents: () => vhosts.static(),
  loaded: () => once(vhosts as unknown as EventEmitter, 'load'),
  reloaded: (about: VhostEvents['reload']) => about,
  setHeaders: (given: StaticOptions) => given.setHeaders,
  errorOptions: (...[, given]: ConstructorParameters<typeof VhostError>) => given,
}

/** Never called: it has only to type-check. */
export function typeChecks(error: VhostError, vhost: VhostInfo): [VhostErrorCode, string] {
  const reason: EvictReason = 'moved'
  // @ts-expect-error A misspelt option is an error.
  vhostRouter({ basePaht: reason })
  // @ts-expect-error A host is a string, so nothing here is `any`.
  void vhosts.why(1)
  const captured: string | undefined = vhost[0]
  return [error.code, captured ?? vhost.hostname]
}
