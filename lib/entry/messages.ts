/** What both sides of the wall say to each other. */

import { isObject } from '../is-object.ts'
import type { Owner } from '../launch/owner.ts'
import { isPlainError, type PlainError } from './plain-error.ts'

/** The name of the environment variable that holds the `Setup`; gone before the app runs. */
export const SETUP_VARIABLE = 'EXPRESS_VAN_SETUP'

/** By which the app's side, as a function of the global object, is told that all is there that comes before the app. */
export const PRELOADED: symbol = Symbol.for('express-van.preloaded')

/** Whether Node is to import something before the app by these flags, for which it does not wait at once. */
export function importsBefore(nodeOptions: string | undefined): boolean {
  return /(?:^|\s)"?--(?:import|(?:experimental-)?loader)[=\s]/.test(nodeOptions ?? '')
}

/** How an app is to be run on the other side. */
export interface Setup {
  readonly socketPath: string
  readonly realPath: string
  readonly appFolder: string
  readonly entry: string
  readonly exportName: string | undefined
  /** Where bare imports are looked up last; empty where Node's own search is enough. */
  readonly modulePaths: readonly string[]
  /** The vhost's own variables, set when the process belongs to the vhost. */
  readonly env: Readonly<Record<string, string>>
  /** Whose the process becomes before it reads anything of the vhost. */
  readonly owner: Owner | undefined
}

/**
 * From the router to the app. A process does nothing before `'begin'`; `'end'` stands for SIGTERM where there are no
 * signals.
 */
export type Order = 'begin' | 'ping' | 'stop' | 'end'

/** What a thread or a process uses. */
export interface Figures {
  /** Bytes: resident, of a process; of a thread the heap it uses. Null where it is not known. */
  readonly memory: number | null
  /** Milliseconds of processor time so far; null where it is not known. */
  readonly cpu: number | null
}

/** From the app to the router. */
export type Report =
  | { readonly type: 'ready'; readonly takesUpgrades: boolean; readonly figures: Figures }
  | { readonly type: 'upgrades'; readonly takesUpgrades: boolean }
  | { readonly type: 'no handler'; readonly detail: string }
  | { readonly type: 'failed'; readonly error: PlainError }
  | { readonly type: 'pong'; readonly figures: Figures }
  | { readonly type: 'stopped'; readonly error: PlainError | undefined }

const CHECKS: Record<Report['type'], (report: Record<string, unknown>) => boolean> = {
  ready: ({ takesUpgrades, figures }) => typeof takesUpgrades === 'boolean' && isFigures(figures),
  upgrades: ({ takesUpgrades }) => typeof takesUpgrades === 'boolean',
  'no handler': ({ detail }) => typeof detail === 'string',
  failed: ({ error }) => isPlainError(error),
  pong: ({ figures }) => isFigures(figures),
  stopped: ({ error }) => error === undefined || isPlainError(error),
}

/** Whether this is a report: an app may write to the channel as well. */
export function isReport(value: unknown): value is Report {
  if (!isObject(value) || typeof value.type !== 'string') return false
  return Object.hasOwn(CHECKS, value.type) && CHECKS[value.type as Report['type']](value)
}

function isFigures(value: unknown): value is Figures {
  return isObject(value) && [value.memory, value.cpu].every(of => of === null || typeof of === 'number')
}
