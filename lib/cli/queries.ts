import type { VhostExplanation } from '../explain.ts'
import { explanationSteps } from '../explanation-steps.ts'
import { printable, printableEntry } from '../printable.ts'
import type { AppStats, VhostState, VhostStats } from '../stats.ts'
import { vhostRouter } from '../vhost-router.ts'
import type { Command } from './command-line.ts'
import { type Answer, ask, follow } from './control-client.ts'
import { checkControlFolder, controlSocketPath } from './control-socket.ts'
import { eventLine, type ToldEvent } from './event-line.ts'
import { portOf } from './flag-values.ts'
import { inFlags, routerOptions } from './router-options.ts'
import { formatTable } from './table.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

/** Prints what a running server has loaded. Each command resolves to whether all is well. */
export async function status(command: Command): Promise<boolean> {
  const body = told(await ask<VhostStats>(socketOf(command), 'GET', '/status', ['totals', 'vhosts']))
  const isWell = body.totals.failed === 0 && body.vhosts.every(({ state }) => state !== 'serving older')
  if (command.flags.json) {
    printJson(body)
    return isWell
  }
  const apps = [...body.vhosts].sort(
    (one, other) => rankOf(one) - rankOf(other) || compare(nameOf(one), nameOf(other)),
  )
  console.log(formatTable(HEAD, apps.map(rowOf), { width: process.stdout.columns, spare: SPARE }))
  for (const app of apps) {
    const { lastError } = app
    if (lastError)
      console.log(printableEntry(`${nameOf(app)}: ${lastError.message}: ${lastError.cause ?? ''}`))
  }
  for (const app of apps) {
    const { lastExit } = app
    if (lastExit) console.log(printableEntry(`${nameOf(app)}: ${lastExit.at}: ${lastExit.how}`))
  }
  const { draining, failed, hostnames, requests } = body.totals
  console.log(
    [
      counted(body.totals.apps, 'app'),
      `${draining} draining`,
      `${failed} failed`,
      counted(hostnames, 'hostname'),
      counted(requests, 'request'),
    ].join(', '),
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
  const { isOk, body } = await ask<{ realPath: string }>(socketOf(command), 'POST', path, [
    'realPath',
  ]).finally(stop)
  if (command.flags.json) printJson(body)
  else if (isOk) console.log(`reloaded ${printable(host)} in ${Math.round(performance.now() - start)} ms`)
  else
    console.error(
      printableEntry(`express-van: ${host}: ${body.message}${body.cause ? `: ${body.cause}` : ''}`),
    )
  return isOk
}

/** Prints what a running server does, until it ends or this is interrupted. */
export async function events(command: Command): Promise<boolean> {
  // A reader who went away ends it as an interrupt does.
  process.stdout.on('error', () => process.exit(0))
  for await (const line of follow(socketOf(command), '/events')) {
    console.log(command.flags.json ? line : eventLine(JSON.parse(line) as ToldEvent))
  }
  return true
}

async function explain(command: Command, host: string): Promise<VhostExplanation> {
  const { 'base-path': basePath } = command.flags
  if (basePath === undefined) {
    const path = `/why?host=${encodeURIComponent(host)}`
    return told(await ask<VhostExplanation>(socketOf(command), 'GET', path, ['outcome', 'status']))
  }
  try {
    await using vhosts = vhostRouter({ ...routerOptions(command), basePath: String(basePath) })
    return await vhosts.why(host)
  } catch (error) {
    throw inFlags(error as Error, command.name)
  }
}

/** @throws Error where the server refuses */
function told<T>({ isOk, body }: Answer<T>): T {
  if (isOk) return body
  throw new Error(body.message)
}

function socketOf(command: Command): string {
  const { socket } = command.flags
  if (socket !== undefined) return String(socket)
  checkControlFolder()
  return controlSocketPath(portOf(command))
}

const HEAD = [
  ...['HOST', 'STATE', 'SINCE', 'RELEASE', 'REQUESTS', 'IN FLIGHT', 'ERRORS'],
  ...['LOAD', 'MEMORY', 'CPU', 'RESTARTS', 'ISOLATION'],
]
/** What a narrow terminal does without, the first one first. */
const SPARE = [...['RESTARTS', 'ISOLATION', 'CPU', 'LOAD', 'MEMORY', 'IN FLIGHT', 'ERRORS', 'REQUESTS']]
/** What is broken comes first. */
const STATES: readonly VhostState[] = ['failed', 'serving older', 'loading', 'draining', 'serving']

function rowOf(app: AppStats): (string | number)[] {
  const more = app.hostnames.length - 1
  const since = app.lastError?.since ?? app.loadedAt
  return [
    more > 0 ? `${nameOf(app)} +${more}` : nameOf(app),
    app.state,
    since ? ageOf(since) : '-',
    app.realPath,
    app.requests,
    app.inFlight,
    app.errors,
    app.loadDurationMs === null ? '-' : `${Math.round(app.loadDurationMs)} ms`,
    app.memory === null ? '-' : `${Math.round(app.memory / 2 ** 20)} MiB`,
    app.cpu === null ? '-' : `${Math.round(app.cpu / SECOND)} s`,
    app.restarts,
    app.isolation ?? '-',
  ]
}

function nameOf({ hostnames: [first = '-'] }: AppStats): string {
  return first
}

function ageOf(iso: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(iso)) / MINUTE)
  if (minutes < 1) return '< 1 min'
  if (minutes < 60) return `${minutes} min`
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60 / 24)} d`
}

function rankOf({ state }: AppStats): number {
  return STATES.indexOf(state)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
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

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}
