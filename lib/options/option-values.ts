import { isAbsolute } from 'node:path'
import { holdsNames } from './given-options.ts'

/** The longest delay that a timer of Node can take. */
const MAX_DELAY = 2 ** 31 - 1
/** Below the least of these, no Express app starts. */
const HEAP = [16 * 2 ** 20, 2 ** 40] as const

/** What an environment must be, if this value is none. */
export function expectEnvironment(value: unknown): string | undefined {
  const isWell =
    holdsNames(value) && Object.entries(value).every(([name, text]) => /^[^=\0]+$/.test(name) && isText(text))
  return isWell ? undefined : 'an object of texts'
}

/** Where an app may run, if this value is no such place. */
export function expectIsolation(value: unknown): string | undefined {
  return ['none', 'thread', 'process'].includes(value as string) ? undefined : `'none', 'thread' or 'process'`
}

/** What the path of a folder must be, if this value is none. */
export function expectPath(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && !value.includes('\0')
    ? undefined
    : 'the path of a folder'
}

/** What a path inside a folder must be, if this value is none. */
export function expectInside(value: unknown): string | undefined {
  const isInside =
    expectPath(value) === undefined &&
    !isAbsolute(value as string) &&
    (value as string).split(/[/\\]/).every(part => part !== '' && part !== '.' && part !== '..')
  return isInside ? undefined : `a relative path without '.' and '..'`
}

/** What the name of an export must be, if this value is none. */
export function expectExportName(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\p{ID_Start}$_][\p{ID_Continue}$]*(\(\))?$/u.test(value)
    ? undefined
    : `the name of an export, such as 'app' or 'createApp()'`
}

/** What a duration must be, if this value is none. */
export function expectMilliseconds(value: unknown): string | undefined {
  return expectNumber(value, 1, MAX_DELAY, 'milliseconds')
}

/** As `expectMilliseconds`, but 0 is allowed. */
export function expectDelay(value: unknown): string | undefined {
  return expectNumber(value, 0, MAX_DELAY, 'milliseconds')
}

/** What a limit of the heap must be, if this value is none. */
export function expectHeap(value: unknown): string | undefined {
  return expectNumber(value, ...HEAP, 'bytes')
}

export function expectFunction(value: unknown): string | undefined {
  return typeof value === 'function' ? undefined : 'a function'
}

/** What a whole number within limits must be, if this value is none. */
export function expectNumber(value: unknown, least: number, most: number, unit: string): string | undefined {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most
    ? undefined
    : `a whole number of ${unit}, ${least} to ${most}`
}

function isText(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && !value.includes('\0'))
}
