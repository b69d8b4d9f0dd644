import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, UsageError, type Value } from './command-line.ts'
import type { CommandName } from './commands.ts'

const DEFAULT_PORT = 3000

/** The port that a server listens on. @throws UsageError */
export function portOf({ name, flags }: Command): number {
  return flags.port === undefined ? DEFAULT_PORT : numberOf(name, 'port', flags.port)
}

/** The path of an existing folder. @throws UsageError */
export function folderOf(command: CommandName, given: string): string {
  const folder = resolve(given)
  // An empty path would resolve to the current folder.
  if (given !== '' && statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder
  throw new UsageError(`there is no folder '${given}'`, command)
}

/** The whole number after a flag. @throws UsageError */
export function numberOf(command: CommandName, flag: string, given: Value): number {
  if (typeof given === 'string' && /^\d{1,10}$/.test(given)) return Number(given)
  throw new UsageError(`--${flag} takes a whole number, not '${given}'`, command)
}

/** The bytes after a flag; `k`, `m` and `g` stand for KiB, MiB and GiB. @throws UsageError */
export function bytesOf(command: CommandName, flag: string, given: Value): number {
  const [, number, unit = ''] = /^(\d{1,12})([kmg]?)$/i.exec(String(given)) ?? []
  if (number === undefined)
    throw new UsageError(`--${flag} takes bytes, as 268435456 or 256m, not '${given}'`, command)
  return Number(number) * 1024 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase())
}

/** The variables of a flag that is given several times. @throws UsageError */
export function environmentOf(command: CommandName, given: readonly string[]): Record<string, string> {
  const variables = given.map((variable): [string, string] => {
    const at = variable.indexOf('=')
    if (at < 1) throw new UsageError(`--env takes NAME=text, not '${variable}'`, command)
    return [variable.slice(0, at), variable.slice(at + 1)]
  })
  return Object.fromEntries(variables)
}

/** The number of hops, or whether all are trusted, or which addresses. */
export function trustProxyOf(given: Value): unknown {
  if (given === 'true' || given === 'false') return given === 'true'
  return /^\d+$/.test(String(given)) ? Number(given) : given
}
