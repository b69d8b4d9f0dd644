import { readdirSync } from 'node:fs'
import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import express, { type ErrorRequestHandler } from 'express'
import { treeVersion, vhostRouter } from 'express-van'
import { statusPage } from 'express-van/status-page'

const port = process.env.PORT || '3000'
if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) fail(`PORT is a number from 0 to 65535, not '${port}'`)

const basePath = path.resolve('example-site/vhosts')
const vhosts = vhostRouter({
  basePath,
  // A site is the release that its `current` link leads to, or else the folder itself.
  vhostDir: ['%0/current', '%0'],
  // In development any edit shows; in production a deploy touches a file or flips a link.
  ...(process.env.NODE_ENV !== 'production' && { getVersion: treeVersion }),
})

const app = express().disable('x-powered-by')
// Whoever sits at this machine may see it. Behind a proxy everybody would seem to, so ask for a password there.
const isLocal = (req: IncomingMessage) => /^(::ffff:)?127\.|^::1$/.test(req.socket.remoteAddress ?? '')
app.use(statusPage(vhosts, { host: 'status.localhost', authorize: isLocal, title: 'example-site' }))
app.use(vhosts.static())
app.use(vhosts)
app.use((req, res) => {
  const reason = req.vhost ? `${req.vhost.hostname} has no such page.` : 'No site has this name here.'
  res.status(404).type('text').send(`${reason} The server's terminal lists the sites.\n`)
})
app.use(((error, req, res, _next) => {
  const { code, status, headers = {}, message = String(error) } = Object(error)
  const isFromRouter = String(code).startsWith('ERR_VHOST_')
  // The event below says once why an app does not load, so this does not say it at each request.
  if (!isFromRouter) print('failed', [req.vhost?.hostname], withoutPaths(String(message)))
  if (res.headersSent) return void req.socket.destroy()
  const known = status >= 400 && STATUS_CODES[status] ? status : 500
  const text = isFromRouter ? `${message}. The server's terminal tells more.` : STATUS_CODES[known]
  res.status(known).set(headers).type('text').send(`${text}\n`)
}) satisfies ErrorRequestHandler)

vhosts.on('load', ({ hostnames, durationMs }) => print('load', hostnames, `${Math.round(durationMs)} ms`))
vhosts.on('reload', ({ hostnames, durationMs, realPath }) =>
  print('reload', hostnames, `${Math.round(durationMs)} ms, now ${path.relative(basePath, realPath)}`),
)
vhosts.on('evict', ({ hostnames, reason, realPath }) =>
  print('evict', hostnames, `${reason}, was ${path.relative(basePath, realPath)}`),
)
vhosts.on('error', ({ hostnames, error, serving }) => {
  const { message } = error.cause instanceof Error ? error.cause : error
  const state = serving
    ? `${path.relative(basePath, serving.realPath)} serves on as it was`
    : 'nothing serves'
  print('error', hostnames, `${withoutPaths(message)} (${state})`)
})

const server = createServer(app).listen(Number(port), () => {
  const { port } = server.address() as { port: number }
  const sites = readdirSync(basePath).filter(name => !name.startsWith('.'))
  for (const site of sites.sort())
    console.log(`http://${site}:${port}/`.padEnd(36), `curl -H 'Host: ${site}' http://localhost:${port}/`)
  console.log(`http://status.localhost:${port}/`.padEnd(36), 'what they do, live')
})
server.on('upgrade', vhosts.upgrade)
server.on('error', (error: NodeJS.ErrnoException) =>
  fail(`Port ${port} is taken or not allowed (${error.code}). Choose another: PORT=3001 npm start`),
)

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end())

async function end(): Promise<void> {
  if (!server.listening) process.exit(1)
  const closed = new Promise(resolve => server.close(resolve))
  await vhosts.close({ drainTimeout: 5 * 1000 })
  // Connections that were busy are idle by now. Those that a browser opened in advance are not waited for.
  server.closeIdleConnections()
  await Promise.race([closed, sleep(1000)])
  process.exit(0)
}

function print(event: string, hostnames: readonly (string | undefined)[], text: string): void {
  console.log(event.padEnd(7), hostnames.join(', ').padEnd(20), text)
}

/** The first line of a message, with paths relative to the top of the repository. */
function withoutPaths(message: string): string {
  const [line = ''] = message.split('\n', 1)
  return line.replaceAll(`${pathToFileURL('.')}/`, '').replaceAll(process.cwd() + path.sep, '')
}

function fail(reason: string): never {
  console.error(reason)
  process.exit(1)
}
