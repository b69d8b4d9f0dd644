import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, resolve, sep } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

const fileTimeout = Number(process.env.SPEC_FILE_TIMEOUT ?? 240 * 1000)
const specDir = resolve(import.meta.dirname, '..')

/**
 * Runs the compiled specs whose path contains one of the arguments; without arguments, all of them. An argument that
 * begins with a hyphen leaves specs out.
 */
function main(filters: string[]): void {
  // Remains if the run stops before its end.
  process.exitCode = 1
  const files = specFiles(filters)
  if (!globalThis.gc) fail('they need `node --expose-gc`')
  else if (files.length === 0) fail(`none matches ${filters.join(' ') || `${specDir}/**/*.spec.js`}`)
  else runAndReport(files)
}

function runAndReport(files: string[]): void {
  let executed = 0
  let failed = false
  const abort = new AbortController()
  const watchdog = setTimeout(onSilence, fileTimeout + 30 * 1000, abort)
  // A variable, because Node 20, whose types are used, has no `execArgv`.
  const options = {
    files,
    // Specs wait a quarter of the time for threads, processes and clocks: so one more than there are cores.
    concurrency: availableParallelism() + 1,
    signal: abort.signal,
    // Up to Node 22 this kills a file's process. From Node 24 on it limits a single test, hence the guard.
    timeout: fileTimeout + 5 * 1000,
    execArgv: ['--import', guardAgainstOpenHandles()],
  }
  const events = run(options)
  events.on('test:pass', event => {
    watchdog.refresh()
    if (isExecutedTest(event, files)) executed += 1
  })
  events.on('test:fail', event => {
    watchdog.refresh()
    if (isExecutedTest(event, files)) executed += 1
    if (event.todo === undefined || event.todo === false) failed = true
  })
  const report = events.compose(new spec())
  report.on('end', () => {
    clearTimeout(watchdog)
    if (executed === 0) fail(`no test was executed in ${files.length} spec file(s)`)
    else if (!failed) process.exitCode = 0
  })
  report.pipe(process.stdout)
}

function fail(message: string): void {
  process.stderr.write(`specs: ${message}\n`)
  process.exitCode = 1
}

/** Minutes of random deploys: run only by `npm run spec -- soak/`, not with the others. */
const APART = `soak${sep}`
/** These take longest: begun last, one would run alone at the end. */
const FIRST = ['heal', 'isolation', 'vhost-router', 'deploy', 'memory', 'leaks', `launch${sep}in-process`]

function specFiles(filters: string[]): string[] {
  const names = readdirSync(specDir, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.spec.js') && !name.split(sep).includes('node_modules'))
    .sort((a, b) => Number(isFirst(b)) - Number(isFirst(a)) || (a < b ? -1 : 1))
  const wanted = filters.filter(filter => !filter.startsWith('-'))
  const unwanted = filters.filter(filter => filter.startsWith('-')).map(filter => filter.slice(1))
  const chosen = names.filter(name => {
    if (unwanted.some(part => name.includes(part))) return false
    return wanted.length === 0 ? !name.startsWith(APART) : wanted.some(part => name.includes(part))
  })
  const leftOut = wanted.length === 0 ? names.filter(name => !chosen.includes(name)) : []
  if (leftOut.length > 0) process.stdout.write(`left out: ${leftOut.join(', ')}\n`)
  return chosen.map(name => join(specDir, name))
}

function isFirst(name: string): boolean {
  return FIRST.some(part => name.startsWith(part))
}

interface TestEvent {
  name: string
  details: { type?: string | undefined }
  skip?: string | boolean
}

// A file without tests passes as one test named by its path.
function isExecutedTest({ name, details, skip }: TestEvent, files: string[]): boolean {
  const isSkipped = skip !== undefined && skip !== false
  return details.type !== 'suite' && !isSkipped && !files.includes(resolve(name))
}

// The timer keeps nothing alive: it fires only in a process that something else keeps alive.
function guardAgainstOpenHandles(): string {
  const code = `setTimeout(() => {
    console.error('still running after ${fileTimeout} ms: ' + process.getActiveResourcesInfo())
    process.exit(1)
  }, ${fileTimeout}).unref()`
  return `data:text/javascript,${encodeURIComponent(code)}`
}

// For a file whose process is too busy to run its own guard.
function onSilence(abort: AbortController): void {
  fail(`nothing was heard from ${relative(process.cwd(), specDir)} for too long; ending the run`)
  abort.abort()
  setTimeout(() => process.exit(1), 10 * 1000).unref()
}

main(process.argv.slice(2))
