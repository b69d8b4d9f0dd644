import type { VhostRouterOptions } from '../options.ts'
import { type Command, UsageError } from './command-line.ts'
import { type CommandName, ROUTER } from './commands.ts'
import { bytesOf, environmentOf, numberOf, trustProxyOf } from './flag-values.ts'

/** The options of `vhostRouter()` that the flags set. @throws UsageError */
export function routerOptions({ name, flags }: Command): VhostRouterOptions {
  const options: Record<string, unknown> = {}
  for (const [flag, { option, value }] of Object.entries(ROUTER)) {
    const given = flags[flag]
    if (!option || given === undefined) continue
    if (option === 'trustProxy') options[option] = trustProxyOf(given)
    else if (option === 'env') options[option] = environmentOf(name, given as readonly string[])
    else if (value === 'bytes') options[option] = bytesOf(name, flag, given)
    else options[option] = NUMBERS.has(value) ? numberOf(name, flag, given) : given
  }
  return options
}

/** The names of flag values that are whole numbers. */
const NUMBERS = new Set<string | undefined>(['ms', 'number'])

/** An error of the router's options, worded for flags. */
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
