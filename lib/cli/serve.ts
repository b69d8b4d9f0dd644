import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import { finalAnswer } from '../answers/final-answer.ts'
import { catchOwnSignals } from '../catch-own-signals.ts'
import { errorPage } from '../error-page.ts'
import { isOfFactory } from '../handler/possible-factory.ts'
import { DRAIN_TIMEOUT } from '../options.ts'
import { within } from '../promises/within.ts'
import { type StatusPageOptions, statusPage } from '../status-page.ts'
import { treeVersion } from '../tree-version.ts'
import { printable, printableEntry } from '../values/printable.ts'
import { attempt, causeOf, placeOf, stackOf } from '../values/thrown.ts'
import { type VhostRouter, vhostRouter } from '../vhost-router.ts'
import { outliveErrors } from '../write-line.ts'
import { type Command, UsageError } from './command-line.ts'
import { Connections } from './connections.ts'
import { type Control, startControl } from './control-server.ts'
import { controlSocketPath, prepareControlFolder } from './control-socket.ts'
import { EVENTS, eventLine, type ToldEvent } from './event-line.ts'
import { folderOf, portOf } from './flag-values.ts'
import { PASSWORD_VARIABLE, takeOperator } from './operator.ts'
import { inFlags, routerOptions } from './router-options.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** A closing terminal sends its signal more than once, and without meaning to insist. */
const INSISTENT = ['SIGINT', 'SIGTERM'] as const
/**
 * In milliseconds: longer than proxies keep a connection, or one may send a request at the moment when it is closed
 * here.
 */
const KEEP_ALIVE = 75 * 1000
/**
 * How long leftovers may keep the process alive, in milliseconds: timers and connections of apps that ran in it, and
 * output that nobody reads.
 */
const LEFTOVERS = 1000
/** An error may be its own cause. */
const MOST_CAUSES = 4

/** Serves until a signal; a second one does not wait for what is in flight. Resolves to whether it ended well. */
export async function serve(command: Command): Promise<boolean> {
  const { flags } = command
  outliveErrors()
  const basePath = folderOf(command.name, command.operand ?? '')
  const port = portOf(command)
  if (port > 65535) throw new UsageError('--port is at most 65535', 'serve')
  const { handle, vhosts, drainTimeout } = site(command, basePath)
  for (const event of EVENTS) {
    vhosts.on(event, about => print(event, about as object))
  }
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE })
  const connections = new Connections(server)
  server.on('request', handle).on('upgrade', vhosts.upgrade)
  try {
    await listening(server, port, flags.host)
  } catch (error) {
    await vhosts.close()
    throw new Error(whyNotListening(error as NodeJS.ErrnoException, port), { cause: error })
  }
  const address = server.address() as AddressInfo
  const control = await openControl(flags.socket, address.port, vhosts)
  console.log(`express-van: serving ${printable(basePath)} at http://${hostOf(address)}:${address.port}/`)
  await signalled()
  console.log('express-van: ending; requests in flight may end')
  // The socket goes before the port does: a successor that takes the port makes its own in the same place.
  control?.close()
  // Connections come first, as a closed router answers nobody: neither those who wait for a load nor those who have
  // just asked.
  const end = performance.now() + drainTimeout
  await within(drainTimeout, connections.end(), () => {})
  await vhosts.close({ drainTimeout: Math.max(0, Math.ceil(end - performance.now())) })
  server.closeAllConnections()
  control?.end()
  // If nothing is left, the program ends earlier.
  setTimeout(() => process.exit(), LEFTOVERS).unref()
  return true
}

type Handle = (req: IncomingMessage, res: ServerResponse) => void

interface Site {
  readonly handle: Handle
  readonly vhosts: VhostRouter
  readonly drainTimeout: number
}

function site(command: Command, basePath: string): Site {
  const { flags } = command
  // Called even if no page needs it: apps in this process see its environment.
  const isOperator = takeOperator()
  try {
    const options = routerOptions(command)
    const vhosts = vhostRouter({
      ...options,
      basePath,
      watch: flags['no-watch'] !== true,
      getVersion: flags['watch-tree'] ? treeVersion : undefined,
    })
    const app = express().disable('x-powered-by')
    if (options.trustProxy !== undefined) app.set('trust proxy', options.trustProxy)
    if (flags['status-host'] !== undefined) {
      app.use(statusPage(vhosts, { host: String(flags['status-host']), authorize: expected(isOperator) }))
    }
    if (!flags['no-static']) app.use(vhosts.static({ dir: flags.static as string | undefined }))
    app.use(vhosts)
    app.use((req, res) => finalAnswer(req, res)())
    const page = errorPage({ show: flags['watch-tree'] === true })
    app.use(((error, req, res, _next) => {
      tell(error, req)
      page(error, req, res, () => req.socket.destroy())
    }) as ErrorRequestHandler)
    return { handle: app as Handle, vhosts, drainTimeout: options.drainTimeout ?? DRAIN_TIMEOUT }
  } catch (error) {
    throw inFlags(error as Error, 'serve')
  }
}

function expected(isOperator: ReturnType<typeof takeOperator>): StatusPageOptions['authorize'] {
  if (isOperator) return isOperator
  throw new UsageError(`--status-host needs a password in ${PASSWORD_VARIABLE}`, 'serve')
}

function tell(error: unknown, req: IncomingMessage & { vhost?: { hostname: string } }): void {
  const isFromRouter = String(Object(error).code).startsWith('ERR_VHOST_')
  // An event has reported once what kept an app from loading; it is not repeated for each request.
  if (!isFromRouter || isOfFactory(error))
    console.error(printableEntry(`${req.vhost?.hostname ?? '-'}: ${withCauses(error)}`))
}

/** A stack does not show the cause, such as the error of the file system or of a database. */
function withCauses(error: unknown, more = MOST_CAUSES): string {
  const text = stackOf(error) ?? String(causeOf(error))
  const cause = more > 0 ? attempt(() => Object(error).cause) : undefined
  return cause === undefined ? text : `${text}\ncause: ${withCauses(cause, more - 1)}`
}

function print(event: string, about: object): void {
  const { error, realPath = '' } = about as { error?: Error; realPath?: string }
  const told = error && {
    message: error.message,
    cause: causeOf(error.cause),
    place: placeOf(error.cause, realPath),
  }
  const line = eventLine({ time: new Date().toISOString(), event, ...about, error: told } as ToldEvent)
  if (error) console.error(line)
  else console.log(line)
}

async function listening(server: Server, port: number, host: unknown): Promise<void> {
  server.listen({ port, host: host === undefined ? undefined : String(host) })
  await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject))
}

function whyNotListening({ code, syscall, message }: NodeJS.ErrnoException, port: number): string {
  if (code === 'EADDRINUSE') return `port ${port} is taken; choose another with --port`
  if (code === 'EACCES') return `port ${port} needs more rights; choose another with --port`
  const isElsewhere = code === 'EADDRNOTAVAIL' || syscall === 'getaddrinfo'
  return isElsewhere ? `--host is not an address of this machine: ${message}` : message
}

/** Without the socket the other commands cannot ask; the sites are served all the same. */
async function openControl(socket: unknown, port: number, vhosts: VhostRouter): Promise<Control | undefined> {
  try {
    const control =
      socket === undefined
        ? await startControl(controlSocketPath(port), vhosts, prepareControlFolder)
        : await startControl(String(socket), vhosts)
    // Also ends it at a second signal, or if an app ends the process. The socket is removed only once, as it may be a
    // successor's.
    process.once('exit', () => control.end())
    return control
  } catch (error) {
    console.error(`express-van: no control socket: ${printable((error as Error).message)}`)
    return undefined
  }
}

async function signalled(): Promise<void> {
  await new Promise<void>(resolve => {
    for (const signal of SIGNALS) process.once(signal, () => resolve())
  })
  // Apps of NestJS and Apollo in this process receive the signal, too, and then send it to themselves once more.
  catchOwnSignals(SIGNALS, () => {})
  for (const signal of INSISTENT) process.once(signal, () => process.exit(1))
  process.on('SIGHUP', () => {})
}

function hostOf({ address, family }: AddressInfo): string {
  if (address === '::' || address === '0.0.0.0') return 'localhost'
  return family === 'IPv6' ? `[${address}]` : address
}
