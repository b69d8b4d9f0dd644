import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { VhostError } from './errors.ts'
import { statOf, unlessGone } from './files/gone.ts'
import { readSmallFile, UnfitFile } from './files/small-file.ts'
import { shown, shownOption } from './options/option-error.ts'
import {
  expectEnvironment,
  expectExportName,
  expectInside,
  expectIsolation,
  expectMilliseconds,
} from './options/option-values.ts'
import type { Isolation, Settings } from './options.ts'
import { isObject } from './values/is-object.ts'
import { parseJson } from './values/parse-json.ts'

/** What a vhost says of itself, in `"vhost"` of the package.json in its real path. */
export interface VhostSettings {
  readonly moduleName: string | undefined
  readonly exportName: string | undefined
  readonly probe: Probe | undefined
  /** The least isolation that it wants; the router may give it more. */
  readonly isolation: Isolation
  /** Overrides what the router gives it. */
  readonly env: Readonly<Record<string, string>>
}

/** A request that a new release has to answer before it serves. */
export interface Probe {
  readonly path: string
  /** The status to expect; undefined: 200 to 399. */
  readonly status: number | undefined
  readonly timeout: number
}

const PROBE_TIMEOUT = 5 * 1000
/** With these, the owner of a vhost could influence how Node and its loader run. */
const RESERVED_VARIABLE = /^(?:NODE_|LD_)/i

/**
 * Decides whose package.json is read: with `user: 'owner'`, only one that belongs to root, or to `uid` if known, else
 * to the owner of the folder.
 */
interface ForUser {
  readonly user: Settings['user']
  readonly uid?: number | undefined
}

type Check = (value: unknown) => string | undefined

const CHECKS: Readonly<Record<string, Check>> = {
  moduleName: expectInside,
  exportName: expectExportName,
  isolation: expectIsolation,
  env: expectEnvironment,
  probe: value => (isObject(value) ? undefined : expectPath(value)),
}

const PROBE_CHECKS: Readonly<Record<string, Check>> = {
  path: expectPath,
  status: value =>
    Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 599
      ? undefined
      : 'a status, 200 to 599',
  timeout: expectMilliseconds,
}

/**
 * What the package.json of a real path says now; the defaults if it says nothing.
 * @throws VhostError `ERR_VHOST_LOAD` if it is malformed, may not be read or asks for what cannot be had here
 */
export async function readVhostSettings(realPath: string, settings: ForUser): Promise<VhostSettings> {
  const own = ownSettings(await readPackage(realPath, settings).catch(refuseMalformed))
  for (const [name, value] of Object.entries(own)) check(name, value, CHECKS)
  const { moduleName, exportName, isolation = 'none', env = {} } = own as Partial<VhostSettings>
  refuseReserved(env)
  return { moduleName, exportName, isolation, env, probe: probeOf(own.probe) }
}

/**
 * The module to load, as the vhost's own setting or else the router's names it; a malformed package.json is ignored.
 */
export async function moduleNameOf(
  realPath: string,
  { moduleName, user }: { moduleName: string | undefined } & ForUser,
): Promise<string | undefined> {
  try {
    const own = ownSettings(await readPackage(realPath, { user })).moduleName
    return own === undefined || expectInside(own) ? moduleName : (own as string)
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof VhostError) return moduleName
    throw error
  }
}

/** What an operator should know of these settings, in words. */
export async function notesOf(realPath: string, settings: ForUser): Promise<string[]> {
  const own = ownSettings(await readPackage(realPath, settings))
  const inProbe = isObject(own.probe) ? Object.keys(own.probe).filter(name => !knows(PROBE_CHECKS, name)) : []
  return [
    ...Object.keys(own).filter(name => !knows(CHECKS, name)),
    ...inProbe.map(name => `probe.${name}`),
  ].map(name => `"vhost" in package.json has no setting ${shown(name.slice(0, 60))}`)
}

function check(name: string, value: unknown, checks: Readonly<Record<string, Check>>): void {
  const expected = knows(checks, name) ? checks[name]?.(value) : undefined
  if (expected) throw refusal(`'${name}' must be ${expected}, not ${shownOption(name, value).slice(0, 60)}`)
}

// Object.hasOwn: a setting may be called `constructor`.
function knows(checks: object, name: string): boolean {
  return Object.hasOwn(checks, name)
}

function refuseReserved(env: VhostSettings['env']): void {
  const reserved = Object.keys(env).find(name => RESERVED_VARIABLE.test(name))
  if (reserved) throw refusal(`'env' may not set ${shown(reserved.slice(0, 60))}`)
}

function probeOf(value: unknown): Probe | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string') return { path: value, status: undefined, timeout: PROBE_TIMEOUT }
  const probe = value as Partial<Probe>
  for (const [name, part] of Object.entries(probe)) check(name, part, PROBE_CHECKS)
  const { path, status, timeout = PROBE_TIMEOUT } = probe
  if (path === undefined) throw refusal(`'probe' has no path`)
  return { path, status, timeout }
}

function ownSettings(packageJson: unknown): Record<string, unknown> {
  if (packageJson === undefined) return {}
  if (!isObject(packageJson))
    throw new VhostError('ERR_VHOST_LOAD', { detail: 'its package.json is not an object' })
  const own = Object.hasOwn(packageJson, 'vhost') ? packageJson.vhost : {}
  if (!isObject(own)) throw refusal(`it must be an object, not ${shown(own).slice(0, 60)}`)
  return own
}

/** Undefined if there is none. */
async function readPackage(realPath: string, { user, uid }: ForUser): Promise<unknown> {
  const file = join(realPath, 'package.json')
  if (!(await statOf(file))?.isFile()) return undefined
  // Through a link, the router would read as root what the owner of the vhost may not.
  const owner = user === 'owner' ? (uid ?? (await stat(realPath)).uid) : undefined
  const source = await unlessGone(readSmallFile(file, owner)).catch(refuseUnfit)
  return source === undefined ? undefined : parseJson(source)
}

function refuseUnfit(error: unknown): never {
  if (!(error instanceof UnfitFile)) throw error
  throw new VhostError('ERR_VHOST_LOAD', { detail: `its package.json ${error.message}` })
}

function refuseMalformed(cause: unknown): never {
  if (!(cause instanceof SyntaxError)) throw cause
  throw new VhostError('ERR_VHOST_LOAD', { detail: 'its package.json is not well formed', cause })
}

function refusal(problem: string): VhostError {
  return new VhostError('ERR_VHOST_LOAD', { detail: `"vhost" in its package.json: ${problem}` })
}

function expectPath(value: unknown): string | undefined {
  return typeof value === 'string' && /^\/[\x21-\x7e]*$/.test(value)
    ? undefined
    : `a path that begins with '/', such as '/healthz'`
}
