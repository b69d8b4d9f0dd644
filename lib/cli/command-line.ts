import { parseArgs } from 'node:util'
import { didYouMean } from '../option-error.ts'
import type { VhostRouterOptions } from '../options.ts'
import { OPERATOR, PASSWORD_VARIABLE } from './operator.ts'

/** A command line that cannot be understood; the program ends with 2. */
export class UsageError extends Error {
  /** Whose help says more; undefined where no command was recognised. */
  readonly command: CommandName | undefined

  constructor(message: string, command?: CommandName) {
    super(message)
    this.command = command
  }
}

export type CommandName = 'serve' | 'status' | 'why' | 'reload' | 'events'

type Value = string | boolean | readonly string[]

export interface Command {
  readonly name: CommandName
  /** The base path, or the host. */
  readonly operand: string | undefined
  /** By their names without hyphens before. */
  readonly flags: Readonly<Record<string, Value | undefined>>
}

interface Flag {
  /** What follows it; none where it stands alone. */
  readonly value?: string
  readonly isRepeatable?: boolean
  readonly text: string
  /** The option of `vhostRouter()` that it sets. */
  readonly option?: keyof VhostRouterOptions
}

const HELP: Record<string, Flag> = {
  help: { text: 'print this' },
}

const CONTROL: Record<string, Flag> = {
  json: { text: 'print JSON' },
  port: { value: 'number', text: 'the server that listens on this port (3000)' },
  socket: { value: 'path', text: 'the server with this control socket' },
}

const PLACES: Record<string, Flag> = {
  'vhost-dir': {
    value: 'pattern',
    isRepeatable: true,
    option: 'vhostDir',
    text: "a vhost's folder, as %0 (%0); give several to try them in order",
  },
  'app-dir': { value: 'folder', option: 'appDir', text: 'folder of the app inside the vhost (app)' },
  'module-name': {
    value: 'name',
    option: 'moduleName',
    text: 'the module that is loaded, without extension',
  },
}

const ROUTER: Record<string, Flag> = {
  ...PLACES,
  'export-name': {
    value: 'name',
    option: 'exportName',
    text: 'the export that is the handler, as app or "createApp()"',
  },
  'modules-dir': {
    value: 'folder',
    option: 'modulesDir',
    text: "folder of the vhost's packages (node_modules)",
  },
  'update-interval': {
    value: 'ms',
    option: 'updateInterval',
    text: 'how often to compare with the disk (1000)',
  },
  'no-watch': { text: 'no file-system events: for network mounts' },
  'watch-tree': { text: 'see any edit below the app folder: for development' },
  isolation: {
    value: 'kind',
    option: 'isolation',
    text: 'where apps run: none (here), thread or process',
  },
  env: {
    value: 'NAME=text',
    isRepeatable: true,
    option: 'env',
    text: 'a variable for isolated apps; may be given several times',
  },
  'memory-limit': {
    value: 'bytes',
    option: 'memoryLimit',
    text: 'JavaScript heap of each isolated app, as 256m',
  },
  'request-timeout': {
    value: 'ms',
    option: 'requestTimeout',
    text: 'how long an isolated app may take to begin its answer (0: for ever)',
  },
  user: { value: 'owner', option: 'user', text: "owner: each app runs as its folder's owner; needs root" },
  'max-apps': { value: 'number', option: 'maxApps', text: 'how many apps stay loaded (100)' },
  'idle-timeout': {
    value: 'ms',
    option: 'idleTimeout',
    text: 'evict an app this long after its last request (0: never)',
  },
  'load-timeout': { value: 'ms', option: 'loadTimeout', text: 'a load that takes longer fails (30000)' },
  'drain-timeout': {
    value: 'ms',
    option: 'drainTimeout',
    text: 'how long a replaced app may finish (30000)',
  },
  'max-concurrent-loads': { value: 'number', option: 'maxConcurrentLoads', text: 'loads at a time (4)' },
  'trust-proxy': {
    value: 'addresses',
    option: 'trustProxy',
    text: "whose X-Forwarded-* count, in the values of Express's trust proxy",
  },
}

const COMMANDS: Record<CommandName, { operand?: string; text: string; flags: Record<string, Flag> }> = {
  serve: {
    operand: 'basePath',
    text: 'Serves the vhosts in a folder: each <host>/app, and the files in <host>/static.',
    flags: {
      port: { value: 'number', text: 'where to listen (3000); 0 is any free port' },
      host: { value: 'address', text: 'on which address to listen (every one)' },
      static: { value: 'folder', text: 'document root inside the vhost (static)' },
      'no-static': { text: 'serve no files' },
      socket: { value: 'path', text: 'the control socket, for the other commands' },
      'status-host': {
        value: 'hostname',
        text: `the name of a status page, with /metrics, for the user ${OPERATOR} with the password in ${PASSWORD_VARIABLE}`,
      },
      ...ROUTER,
    },
  },
  status: { text: 'Shows what a running server has loaded.', flags: CONTROL },
  why: {
    operand: 'host',
    text: 'Explains what a Host leads to, step by step, and loads nothing.',
    flags: {
      ...CONTROL,
      'base-path': { value: 'folder', text: 'ask no server: read this folder of vhosts' },
      ...PLACES,
    },
  },
  reload: {
    operand: 'host',
    text: 'Has a running server load a vhost anew, and waits until it serves.',
    flags: CONTROL,
  },
  events: { text: 'Prints what a running server does, until interrupted.', flags: CONTROL },
}

/** @throws UsageError */
export function parseCommand(
  words: readonly string[],
): Command | { name: 'help'; topic: CommandName | undefined } | { name: 'version' } {
  const [first, ...rest] = words
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    return { name: 'help', topic: rest.find(isCommandName) }
  }
  if (first === '--version' || first === '-v') return { name: 'version' }
  if (!isCommandName(first)) {
    const what = first.startsWith('-') ? 'a command comes first' : `there is no command '${first}'`
    throw new UsageError(what + didYouMean(first, Object.keys(COMMANDS), word => `'${word}'`))
  }
  const { operand, flags } = COMMANDS[first]
  const { values, positionals } = parseWords(first, rest, { ...flags, ...HELP })
  if (values.help) return { name: 'help', topic: first }
  for (const [flag, { value }] of Object.entries(flags)) {
    // An unset variable of a script; Node would take it for every address, or for no socket.
    if (values[flag] === '') throw new UsageError(`--${flag} takes <${value}>, not ''`, first)
  }
  const wanted = operand === undefined ? 0 : 1
  if (positionals.length < wanted) throw new UsageError(`${first} needs a <${operand}>`, first)
  const tooMany = positionals[wanted]
  if (tooMany !== undefined) throw new UsageError(`${first} takes no '${tooMany}'`, first)
  if (operand === 'host') refuseUrl(positionals[0] as string, first)
  return { name: first, operand: positionals[0], flags: values }
}

/** As it stands in a browser. */
function refuseUrl(word: string, command: CommandName): void {
  const [, host] = /^https?:\/\/([^/?#]*)/i.exec(word) ?? []
  if (host !== undefined)
    throw new UsageError(`${command} takes a host, not a URL; did you mean '${host}'?`, command)
}

const EXIT_CODES =
  'Ends with 0: done; 1: failed, or the host leads to no app; 2: wrong command; 3: no server answers.'

/** What a command is for; in lines of so many characters, where they fit. */
export function help(topic: CommandName | undefined, width: number): string {
  if (topic) {
    const { operand, text, flags } = COMMANDS[topic]
    const usage = `express-van ${topic}${operand ? ` <${operand}>` : ''} [options]`
    return [
      `Usage: ${usage}`,
      '',
      ...wrapped(text, width),
      '',
      ...flagLines({ ...flags, ...HELP }, width),
    ].join('\n')
  }
  const commands = Object.entries(COMMANDS).map(([name, { operand, text }]) => [
    `${name}${operand ? ` <${operand}>` : ''}`,
    text,
  ])
  return [
    'Usage: express-van <command> [options]',
    '',
    'One folder per host name, and the web app in it is live.',
    '',
    ...aligned(commands, width),
    '',
    ...wrapped(
      'express-van <command> --help tells the options of each; express-van --version the version.',
      width,
    ),
    ...wrapped(EXIT_CODES, width),
  ].join('\n')
}

/** The options of `vhostRouter()` that flags name. @throws UsageError */
export function routerOptions({ name, flags }: Command): VhostRouterOptions {
  const options: Record<string, unknown> = {}
  for (const [flag, { option, value }] of Object.entries(ROUTER)) {
    const given = flags[flag]
    if (!option || given === undefined) continue
    if (option === 'trustProxy') options[option] = trustOf(given)
    else if (option === 'env') options[option] = environmentOf(name, given as readonly string[])
    else if (value === 'bytes') options[option] = bytesOf(name, flag, given)
    else options[option] = NUMBERS.has(value) ? numberOf(name, flag, given) : given
  }
  return options
}

/** What the values of flags are called that are whole numbers. */
const NUMBERS = new Set<string | undefined>(['ms', 'number'])

function environmentOf(command: CommandName, given: readonly string[]): Record<string, string> {
  const variables = given.map((variable): [string, string] => {
    const at = variable.indexOf('=')
    if (at < 1) throw new UsageError(`--env takes NAME=text, not '${variable}'`, command)
    return [variable.slice(0, at), variable.slice(at + 1)]
  })
  return Object.fromEntries(variables)
}

/** How many hops, whether all, or which addresses. */
function trustOf(given: Value): unknown {
  if (given === 'true' || given === 'false') return given === 'true'
  return /^\d+$/.test(String(given)) ? Number(given) : given
}

/** The whole number after a flag. @throws UsageError */
export function numberOf(command: CommandName, flag: string, given: Value): number {
  if (typeof given === 'string' && /^\d{1,10}$/.test(given)) return Number(given)
  throw new UsageError(`--${flag} takes a whole number, not '${given}'`, command)
}

/** The bytes after a flag; `k`, `m` and `g` stand for KiB, MiB and GiB. @throws UsageError */
function bytesOf(command: CommandName, flag: string, given: Value): number {
  const [, number, unit = ''] = /^(\d{1,12})([kmg]?)$/i.exec(String(given)) ?? []
  if (number === undefined)
    throw new UsageError(`--${flag} takes bytes, as 268435456 or 256m, not '${given}'`, command)
  return Number(number) * 1024 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase())
}

/** An error of the router's options, in terms of flags. */
export function inFlags(error: Error, command: CommandName): UsageError {
  const byOption = new Map(Object.entries(ROUTER).map(([flag, { option }]) => [String(option), flag]))
  const message = error.message
    .replace("option 'dir' of static()", '--static')
    .replace("option 'host' of statusPage()", '--status-host')
  const text = message
    .replace(/^option '(\w+)'|^(\w+):/, (whole, quoted, plain) => {
      const flag = byOption.get(quoted ?? plain)
      return flag ? `--${flag}${plain ? ':' : ''}` : whole
    })
    .replace(", 'process' or a function", " or 'process'")
  return new UsageError(text, command)
}

function parseWords(
  command: CommandName,
  words: string[],
  flags: Record<string, Flag>,
): { values: Command['flags']; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { value, isRepeatable }]) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: isRepeatable === true,
        ...(name === 'help' && { short: 'h' }),
      },
    ]),
  )
  try {
    const { values, positionals } = parseArgs({ args: words, options, allowPositionals: true })
    return { values: values as Command['flags'], positionals }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const unknown = /'(-[^']*)'/.exec(message)?.[1]
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && unknown !== undefined) {
      const meant = didYouMean(unknown.replace(/^-+/, ''), Object.keys(flags), flag => `--${flag}`)
      throw new UsageError(`${command} has no option ${unknown}${meant}`, command)
    }
    const [sentence = ''] = message.split('. ', 1)
    throw new UsageError(sentence, command)
  }
}

function isCommandName(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word)
}

function flagLines(flags: Record<string, Flag>, width: number): string[] {
  return aligned(
    Object.entries(flags).map(([name, { value, text }]) => [`--${name}${value ? ` <${value}>` : ''}`, text]),
    width,
  )
}

function aligned(rows: readonly (readonly string[])[], width: number): string[] {
  const left = Math.max(...rows.map(([name = '']) => name.length)) + 4
  return rows.flatMap(([name = '', text = '']) =>
    wrapped(text, Math.max(LEAST_TEXT, width - left)).map(
      (line, i) => `${(i === 0 ? `  ${name}` : '').padEnd(left)}${line}`,
    ),
  )
}

/** Words are not cut to columns narrower than this. */
const LEAST_TEXT = 24

function wrapped(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines
}
