import { parseArgs } from 'node:util'
import { didYouMean } from '../options/option-error.ts'
import { COMMANDS, type CommandName, type Flag, HELP, isCommandName } from './commands.ts'

/** A command line that cannot be understood; the program exits with 2. */
export class UsageError extends Error {
  /** The command whose help says more; undefined if none was recognised. */
  readonly command: CommandName | undefined

  constructor(message: string, command?: CommandName) {
    super(message)
    this.command = command
  }
}

/** What follows a flag; true if the flag stands alone. */
export type Value = string | boolean | readonly string[]

export interface Command {
  readonly name: CommandName
  /** The base path, or the host. */
  readonly operand: string | undefined
  /** By their names, without leading hyphens. */
  readonly flags: Readonly<Record<string, Value | undefined>>
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
    // An empty value comes from an unset variable of a script; Node would take it for every address, or for no socket.
    if (values[flag] === '') throw new UsageError(`--${flag} takes <${value}>, not ''`, first)
  }
  const wanted = operand === undefined ? 0 : 1
  if (positionals.length < wanted) throw new UsageError(`${first} needs a <${operand}>`, first)
  const tooMany = positionals[wanted]
  if (tooMany !== undefined) throw new UsageError(`${first} takes no '${tooMany}'`, first)
  // From an unset variable of a script, too; only `why` can be asked about an empty Host.
  if (first === 'reload' && positionals[0] === '')
    throw new UsageError("reload takes a <host>, not ''", first)
  if (operand === 'host') refuseUrl(positionals[0] as string, first)
  return { name: first, operand: positionals[0], flags: values }
}

/** As copied from a browser. */
function refuseUrl(word: string, command: CommandName): void {
  const [, host] = /^https?:\/\/([^/?#]*)/i.exec(word) ?? []
  if (host !== undefined)
    throw new UsageError(`${command} takes a host, not a URL; did you mean '${host}'?`, command)
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
