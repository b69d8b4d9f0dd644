import { explanationSteps } from '../explain/explanation-steps.ts'
import type { VhostExplanation } from '../explain.ts'
import type { VhostStats } from '../stats.ts'
import { printable, printableEntry } from '../values/printable.ts'
import { vhostRouter } from '../vhost-router.ts'
import { type Command, UsageError } from './command-line.ts'
import { PLACES } from './commands.ts'
import { type Answer, ask, follow } from './control-client.ts'
import { findControlSocket } from './control-socket.ts'
import { eventLine, type ToldEvent } from './event-line.ts'
import { folderOf, portOf } from './flag-values.ts'
import { inFlags, routerOptions } from './router-options.ts'
import { statusText } from './status-text.ts'
import { formatTable } from './table.ts'
import { withCause } from './with-cause.ts'

const SECOND = 1000

/** Prints what a running server has loaded. Each command resolves to whether all is well. */
export async function status(command: Command): Promise<boolean> {
  const body = told(await ask<VhostStats>(await socketOf(command), 'GET', '/status', ['totals', 'vhosts']))
  if (command.flags.json) printJson(body)
  else console.log(statusText(body, process.stdout.columns))
  return body.totals.failed === 0 && body.vhosts.every(({ state }) => state !== 'serving older')
}

/** Prints what a Host leads to, at a running server or in a folder. */
export async function why(command: Command): Promise<boolean> {
  const host = command.operand ?? ''
  const explanation = await explain(command, host)
  if (command.flags.json) printJson(explanation)
  else console.log(formatTable(['STEP', 'WHAT'], explanationSteps(explanation)))
  return explanation.outcome === 'app' && explanation.status === 200
}

/** Makes a running server load a vhost anew. */
export async function reload(command: Command): Promise<boolean> {
  const host = command.operand ?? ''
  const socket = await socketOf(command)
  const start = performance.now()
  const stop = showProgress(`reloading ${host}`)
  const path = `/reload?host=${encodeURIComponent(host)}`
  const { isOk, body } = await ask<{ realPath: string }>(socket, 'POST', path, ['realPath']).finally(stop)
  if (command.flags.json) printJson(body)
  // A script must be able to tell this failure from that of a release.
  if (!isOk && (body.outcome || body.code === 'ERR_VHOST_HOST'))
    throw new UsageError(withCause(host, body), 'reload')
  if (command.flags.json) return isOk
  if (isOk) console.log(`reloaded ${printable(host)} in ${Math.round(performance.now() - start)} ms`)
  else console.error(printableEntry(`express-van: ${withCause(host, body)}`))
  return isOk
}

/** Prints what a running server does, until it ends or this is interrupted. */
export async function events(command: Command): Promise<boolean> {
  // A reader that goes away ends the command as an interrupt does.
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => code === 'EPIPE' && process.exit(0))
  for await (const line of follow(await socketOf(command), '/events')) {
    console.log(command.flags.json ? line : eventLine(JSON.parse(line) as ToldEvent))
  }
  return true
}

async function explain(command: Command, host: string): Promise<VhostExplanation> {
  const { 'base-path': basePath } = command.flags
  if (basePath === undefined) {
    const spare = Object.keys(PLACES).find(flag => command.flags[flag] !== undefined)
    if (spare) throw new UsageError(`--${spare} needs --base-path: a server has its own`, command.name)
    const path = `/why?host=${encodeURIComponent(host)}`
    return told(await ask<VhostExplanation>(await socketOf(command), 'GET', path, ['outcome', 'status']))
  }
  const folder = folderOf(command.name, String(basePath))
  try {
    await using vhosts = vhostRouter({ ...routerOptions(command), basePath: folder })
    return await vhosts.why(host)
  } catch (error) {
    throw inFlags(error as Error, command.name)
  }
}

/** @throws Error if the server refuses */
function told<T>({ isOk, body }: Answer<T>): T {
  if (isOk) return body
  throw new Error(body.message)
}

async function socketOf(command: Command): Promise<string> {
  const { socket } = command.flags
  return socket === undefined ? findControlSocket(portOf(command)) : String(socket)
}

/** Shows on a terminal how long the wait has lasted. Returns the function that ends it. */
function showProgress(text: string): () => void {
  if (!process.stderr.isTTY) return () => {}
  const start = performance.now()
  const show = (): void => {
    process.stderr.write(`\r${printable(text)} … ${Math.floor((performance.now() - start) / SECOND)} s`)
  }
  show()
  const timer = setInterval(show, SECOND)
  return () => {
    clearInterval(timer)
    process.stderr.write('\r\u001b[K')
  }
}

function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2))
}
