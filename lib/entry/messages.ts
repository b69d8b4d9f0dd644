/** The messages between the router and the app's side. */

import type { Owner } from '../launch/owner.ts'
import { isObject } from '../values/is-object.ts'
import { isPlainError, type PlainError } from './plain-error.ts'

/** The name of the environment variable that holds the `Setup`; gone before the app runs. */
export const SETUP_VARIABLE = 'EXPRESS_VAN_SETUP'

/**
 * The name of a function on the global object, which tells the app's side that everything is there that comes before
 * the app.
 */
export const PRELOADED: symbol = Symbol.for('express-van.preloaded')

/** Whether these flags make Node import something before the app, without waiting for it at once. */
export function importsBefore(nodeOptions: string | undefined): boolean {
  return /(?:^|\s)"?--(?:import|(?:experimental-)?loader)[=\s]/.test(nodeOptions ?? '')
}

/** How to run an app on the other side. */
export interface Setup {
  readonly socketPath: string
  readonly realPath: string
  readonly appFolder: string
  readonly entry: string
  readonly exportName: string | undefined
  /** Where bare imports are looked up last; empty if Node's own search is enough. */
  readonly modulePaths: readonly string[]
  /** The vhost's own variables, set when the process belongs to the vhost. */
  readonly env: Readonly<Record<string, string>>
  /** The user that the process becomes before it reads anything of the vhost. */
  readonly owner: Owner | undefined
}

/**
 * From the router to the app. A process does nothing before `'begin'`; `'end'` stands for SIGTERM in a thread, which
 * has no signals.
 */
export type Order = 'begin' | 'ping' | 'stop' | 'end'

/** What a thread or process uses. */
export interface Figures {
  /** In bytes: the resident memory of a process, the used heap of a thread. Null if unknown. */
  readonly memory: number | null
  /** Milliseconds of processor time so far; null if unknown. */
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

/** Whether this is a report: an app may write to the channel, too. */
export function isReport(value: unknown): value is Report {
  if (!isObject(value) || typeof value.type !== 'string') return false
  return Object.hasOwn(CHECKS, value.type) && CHECKS[value.type as Report['type']](value)
}

function isFigures(value: unknown): value is Figures {
  return isObject(value) && [value.memory, value.cpu].every(of => of === null || typeof of === 'number')
}
