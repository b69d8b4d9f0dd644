import { createInterface } from 'node:readline'
import type { VhostExplanation } from '../explain.ts'
import { explanationSteps } from '../explanation-steps.ts'
import type { AppStats, VhostStats } from '../stats.ts'
import { vhostRouter } from '../vhost-router.ts'
import { type Command, inFlags, numberOf, routerOptions } from './command-line.ts'
import { ask, open } from './control-client.ts'
import { controlSocketPath } from './control-socket.ts'
import { eventLine, type ToldEvent } from './event-line.ts'
import { formatTable, printable } from './table.ts'

const DEFAULT_PORT = 3000
const SECOND = 1000

/** Prints what a running server has loaded. Each command resolves to whether all is well. */
export async function status(command: Command): Promise<boolean> {
  const { body } = await ask<VhostStats>(socketOf(command), 'GET', '/status')
  const isWell = body.totals.failed === 0 && body.vhosts.every(({ state }) => state !== 'serving older')
  if (command.flags.json) {
    printJson(body)
    return isWell
  }
  console.log(
    formatTable(
      ['HOST', 'STATE', 'SINCE', 'REQUESTS', 'IN FLIGHT', 'ERRORS', 'LOAD', 'MEMORY', 'RESTARTS', 'RELEASE'],
      body.vhosts.map(rowOf),
    ),
  )
  for (const { hostnames, lastError } of body.vhosts) {
    if (lastError)
      console.log(printable(`${hostnames[0] ?? '-'}: ${lastError.message}: ${lastError.cause ?? ''}`))
  }
  const { apps, draining, failed, hostnames, requests } = body.totals
  console.log(
    `${apps} apps, ${draining} draining, ${failed} failed, ${hostnames} hostnames, ${requests} requests`,
  )
  return isWell
}

/** Prints what a Host leads to, at a running server or in a folder. */
export async function why(command: Command): Promise<boolean> {
  const host = command.operand ?? ''
  const explanation = await explain(command, host)
  if (command.flags.json) printJson(explanation)
  else console.log(formatTable(['STEP', 'WHAT'], explanationSteps(explanation)))
  return explanation.outcome === 'app' && explanation.status === 200
}

/** Has a running server load a vhost anew. */
export async function reload(command: Command): Promise<boolean> {
  const host = command.operand ?? ''
  const start = performance.now()
  const stop = showProgress(`reloading ${host}`)
  const path = `/reload?host=${encodeURIComponent(host)}`
  const { isOk, body } = await ask<{ message?: string; cause?: string }>(
    socketOf(command),
    'POST',
    path,
  ).finally(stop)
  if (command.flags.json) printJson(body)
  else if (isOk) console.log(`reloaded ${printable(host)} in ${Math.round(performance.now() - start)} ms`)
  else console.error(printable(`express-van: ${host}: ${body.message}${body.cause ? `: ${body.cause}` : ''}`))
  return isOk
}

/** Prints what a running server does, until it ends or this is interrupted. */
export async function events(command: Command): Promise<boolean> {
  const response = await open(socketOf(command), 'GET', '/events')
  // A reader who went away ends it as an interrupt does.
  process.stdout.on('error', () => process.exit(0))
  for await (const line of createInterface({ input: response })) {
    console.log(command.flags.json ? line : eventLine(JSON.parse(line) as ToldEvent))
  }
  return true
}

async function explain(command: Command, host: string): Promise<VhostExplanation> {
  const { 'base-path': basePath } = command.flags
  if (basePath === undefined) {
    return (await ask<VhostExplanation>(socketOf(command), 'GET', `/why?host=${encodeURIComponent(host)}`))
      .body
  }
  try {
    await using vhosts = vhostRouter({ ...routerOptions(command), basePath: String(basePath) })
    return await vhosts.why(host)
  } catch (error) {
    throw inFlags(error as Error, command.name)
  }
}

function socketOf({ name, flags }: Command): string {
  if (flags.socket !== undefined) return String(flags.socket)
  return controlSocketPath(flags.port === undefined ? DEFAULT_PORT : numberOf(name, 'port', flags.port))
}

function rowOf(app: AppStats): (string | number)[] {
  const [first = '-', ...others] = app.hostnames
  return [
    others.length > 0 ? `${first} +${others.length}` : first,
    app.state,
    app.loadedAt?.slice(0, 19).replace('T', ' ') ?? '-',
    app.requests,
    app.inFlight,
    app.errors,
    app.loadDurationMs === null ? '-' : `${Math.round(app.loadDurationMs)} ms`,
    app.memory === null ? '-' : `${Math.round(app.memory / 2 ** 20)} MiB`,
    app.restarts,
    app.realPath,
  ]
}

/** A line on a terminal that says how long it has been waited; gives what ends it. */
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
