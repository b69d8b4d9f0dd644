import { resolve } from 'node:path'
import { givenOptions } from './options/given-options.ts'
import { optionError, shown, shownOption } from './options/option-error.ts'
import { checkGiven } from './options/option-functions.ts'
import {
  expectDelay,
  expectEnvironment,
  expectExportName,
  expectFunction,
  expectHeap,
  expectInside,
  expectIsolation,
  expectMilliseconds,
  expectNumber,
  expectPath,
} from './options/option-values.ts'
import { compileTrust, type Trusts } from './trust-proxy.ts'
import { compileVhostDir } from './vhost-path/vhost-pattern.ts'
import type { PathSettings } from './vhost-path.ts'

/** Where an app runs: in the router's process, in a thread of it, or in a process of its own. */
export type Isolation = 'none' | 'thread' | 'process'

/** Options of `vhostRouter()`. Durations are milliseconds; `undefined` equals absent. */
export interface VhostRouterOptions {
  /** The folder of all vhosts; not a URL prefix. @default '/var/www' */
  basePath?: string | undefined
  /**
   * A vhost's folder below `basePath`, in the notation of Apache's mod_vhost_alias (`%0`, `%1`, `%-2+`, `%2.1` …). An
   * array is tried in order; the next pattern only if nothing at all is at the path of the one before.
   * @default '%0'
   */
  vhostDir?: string | readonly string[] | undefined
  /**
   * Overrides the naming scheme: the folder of a hostname, relative to `basePath` or absolute; `undefined` means
   * that there is no such vhost. May be async. @default from `basePath` and `vhostDir`
   */
  getVhostPath?: ((hostname: string) => string | undefined | Promise<string | undefined>) | undefined
  /** Folder of the app inside the vhost; `'.'` is the vhost itself. @default 'app' */
  appDir?: string | undefined
  /**
   * The module inside `appDir` that is loaded, without its extension.
   * @default `main` of the app folder's package.json, else `app`, `index`, `server`, each as
   * .js .cjs .mjs .ts .cts .mts
   */
  moduleName?: string | undefined
  /**
   * The export that is the handler; with brackets, as in `'createApp()'`, it is called and its result awaited.
   * @default the default export or `module.exports`, then `app`, then `handler`
   */
  exportName?: string | undefined
  /** Folder of the vhost's own packages. @default 'node_modules' */
  modulesDir?: string | undefined
  /**
   * Folders where bare imports are looked up after Node's own search from the importing file has failed, for
   * CommonJS and ES modules. @default [realPath/modulesDir]
   */
  getModulePaths?: ((realPath: string) => readonly string[]) | undefined
  /**
   * Overrides change detection: a value for `Object.is` to compare, or a promise of it. `undefined`, or throwing
   * ENOENT, ENOTDIR or ELOOP, means gone; after any other error, which is reported, the app that serves stays. Called
   * with the real path of the vhost, and `appDir`.
   * @default identity, mtime and ctime of the app folder, entry, package.json and tmp/restart.txt
   */
  getVersion?: ((realPath: string, appDir: string) => unknown) | undefined
  /** How often what is loaded, or failed to load, is compared with the disk, in milliseconds. @default 1000 */
  updateInterval?: number | undefined
  /**
   * Whether file-system events trigger a comparison: changes are only seen sooner by them. `false` is for network
   * mounts and systems where watches are scarce. @default true
   */
  watch?: boolean | undefined
  /**
   * Where apps run. `'none'`: all in this process. `'thread'`: each in a thread, so that a reload gives all memory
   * back, and a load or an endless loop stops nobody else; native crashes, and some ways to run out of memory, still
   * end the router. `'process'`: each in a process of its own, a wall against those too. Or a function that returns it
   * for each vhost. The package.json of a vhost may ask for more isolation, never for less. @default 'none'
   */
  isolation?: Isolation | ((vhost: { realPath: string }) => Isolation) | undefined
  /**
   * Bytes of JavaScript heap that an isolated app may have, or a function that returns them for each vhost. For a
   * process this is `--max-old-space-size` and, if the router may make cgroups, one that allows 128 MiB beside the
   * heap. For a thread it is `resourceLimits`, which Node keeps as best it can, and which do not cover buffers.
   * @default Node's own
   */
  memoryLimit?: number | ((vhost: { realPath: string }) => number | undefined) | undefined
  /**
   * How long an isolated app may take to begin its answer once nothing more of the request arrives, in milliseconds;
   * then the client gets 504. `0` means no limit. @default 0
   */
  requestTimeout?: number | undefined
  /**
   * How long an isolated app may stand still while it has requests, in milliseconds; after that, or at most half as long
   * again, it is killed and started anew. `0` means never. @default 1_500
   */
  heartbeatTimeout?: number | undefined
  /**
   * `'owner'`: each app runs as the user who owns its release folder. The router must run as root, `isolation` must be
   * `'process'`, and a folder that belongs to root is refused. @default the router's user
   */
  user?: 'owner' | undefined
  /**
   * How many apps stay loaded. The victim is the least recently used app with nothing in flight; among ten or more, it
   * is the least requested one of the nine tenths that are least recently used. If every app is busy, the newcomer gets
   * 503. @default 100
   */
  maxApps?: number | undefined
  /** How long after its last request ended an app is evicted, in milliseconds; `0` means never. @default 0 */
  idleTimeout?: number | undefined
  /**
   * How long a load may take before it fails, in milliseconds, counted from its start and not from its place in the
   * queue.
   * @default 30_000
   */
  loadTimeout?: number | undefined
  /**
   * How long a replaced app may finish its requests, in milliseconds; then what is left is cut. `0` cuts at once.
   * @default 30_000
   */
  drainTimeout?: number | undefined
  /**
   * How many loads run at a time. Up to 100 first loads wait; beyond that, requests get 503. Reloads wait behind first
   * loads, but every fourth place is theirs. @default 4
   */
  maxConcurrentLoads?: number | undefined
  /**
   * Whose `X-Forwarded-Host` counts, as a value of Express's `trust proxy`.
   * @default what `req.app` says on requests, nobody on upgrades
   */
  trustProxy?: boolean | number | string | readonly string[] | Trusts | undefined
  /**
   * Environment of isolated apps, over the router's own `PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR` and `NODE_ENV`; nothing
   * else of the router's environment reaches them. Or a function that returns it for each vhost. An error with
   * `isolation: 'none'`, where all apps share one environment. @default {}
   */
  env?: Environment | ((vhost: { realPath: string }) => Environment) | undefined
}

/** Names and values of variables; one whose value is `undefined` is left out. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Options checked and completed; nothing else in lib/ knows a default. */
export interface Settings extends PathSettings {
  readonly appDir: string
  readonly moduleName: string | undefined
  readonly exportName: string | undefined
  readonly modulesDir: string
  /** Undefined if Node's own search already finds every package. */
  readonly getModulePaths: ((realPath: string) => readonly string[]) | undefined
  readonly getVersion: ((realPath: string, appDir: string) => unknown) | undefined
  readonly updateInterval: number
  readonly watch: boolean
  readonly isolation: Isolation | ((vhost: { realPath: string }) => Isolation)
  readonly memoryLimit: number | ((vhost: { realPath: string }) => number | undefined) | undefined
  readonly requestTimeout: number
  readonly heartbeatTimeout: number
  readonly user: 'owner' | undefined
  readonly env: Environment | ((vhost: { realPath: string }) => Environment)
  readonly maxApps: number
  readonly idleTimeout: number
  readonly loadTimeout: number
  readonly drainTimeout: number
  readonly maxConcurrentLoads: number
  readonly trusts: Trusts | undefined
}

const SECOND = 1000
/** How long a replaced app may finish its requests, in milliseconds. */
export const DRAIN_TIMEOUT: number = 30 * SECOND
const DEFAULT_MODULES_DIR = 'node_modules'
const CHECKS: Record<keyof VhostRouterOptions, (value: unknown) => string | undefined> = {
  basePath: expectPath,
  vhostDir: value =>
    typeof value === 'string' || Array.isArray(value) ? undefined : 'a pattern or an array of patterns',
  getVhostPath: expectFunction,
  appDir: value => (value === '.' ? undefined : expectInside(value)),
  moduleName: expectInside,
  exportName: expectExportName,
  modulesDir: expectInside,
  getModulePaths: expectFunction,
  getVersion: expectFunction,
  updateInterval: expectMilliseconds,
  watch: value => (typeof value === 'boolean' ? undefined : 'true or false'),
  isolation: value =>
    typeof value !== 'function' && expectIsolation(value)
      ? `'none', 'thread', 'process' or a function`
      : undefined,
  memoryLimit: value => (typeof value === 'function' ? undefined : expectHeap(value)),
  requestTimeout: expectDelay,
  heartbeatTimeout: expectDelay,
  user: value => (value === 'owner' ? undefined : `'owner'`),
  maxApps: value => expectNumber(value, 1, 1_000_000, 'apps'),
  idleTimeout: expectDelay,
  loadTimeout: expectMilliseconds,
  drainTimeout: expectDelay,
  maxConcurrentLoads: value => expectNumber(value, 1, 10_000, 'loads'),
  trustProxy: value =>
    typeof value === 'number' ? expectNumber(value, 0, Number.MAX_SAFE_INTEGER, 'hops') : undefined,
  env: value => (typeof value === 'function' ? undefined : expectEnvironment(value)),
}

/**
 * @throws TypeError `ERR_VHOST_OPTION` on an unknown or misspelt option, naming the nearest right one, or a bad value.
 */
export function resolveOptions(given: VhostRouterOptions = {}): Settings {
  const options = givenOptions('vhostRouter()', given, Object.keys(CHECKS))
  for (const [name, value] of Object.entries(options)) checkOption(name as keyof VhostRouterOptions, value)
  refuseContradictions(options)
  const modulesDir = options.modulesDir ?? DEFAULT_MODULES_DIR
  return Object.freeze({
    basePath: resolve(options.basePath ?? '/var/www'),
    vhostPatterns: compileVhostDir(options.vhostDir ?? '%0'),
    getVhostPath: options.getVhostPath,
    appDir: options.appDir ?? 'app',
    moduleName: options.moduleName,
    exportName: options.exportName,
    modulesDir,
    getModulePaths:
      options.getModulePaths ??
      (modulesDir === DEFAULT_MODULES_DIR
        ? undefined
        : (realPath: string) => [resolve(realPath, modulesDir)]),
    getVersion: options.getVersion,
    updateInterval: options.updateInterval ?? 1 * SECOND,
    watch: options.watch ?? true,
    isolation: options.isolation ?? 'none',
    memoryLimit: options.memoryLimit,
    requestTimeout: options.requestTimeout ?? 0,
    heartbeatTimeout: options.heartbeatTimeout ?? 1.5 * SECOND,
    user: options.user,
    env: options.env ?? {},
    maxApps: options.maxApps ?? 100,
    idleTimeout: options.idleTimeout ?? 0,
    loadTimeout: options.loadTimeout ?? 30 * SECOND,
    drainTimeout: options.drainTimeout ?? DRAIN_TIMEOUT,
    maxConcurrentLoads: options.maxConcurrentLoads ?? 4,
    trusts: options.trustProxy === undefined ? undefined : resolveTrust(options.trustProxy),
  })
}

function checkOption(name: keyof VhostRouterOptions, value: unknown): void {
  if (value === undefined) return
  const expected = CHECKS[name](value)
  if (expected) throw optionError(`option '${name}' must be ${expected}, not ${shownOption(name, value)}`)
}

/**
 * The drain timeout for one call of `close()`.
 * @throws TypeError `ERR_VHOST_OPTION` as for the router's own options
 */
export function drainTimeoutOf(options: { drainTimeout?: number | undefined } = {}): number | undefined {
  const { drainTimeout } = givenOptions('close()', options, ['drainTimeout'])
  checkOption('drainTimeout', drainTimeout)
  return drainTimeout
}

/** Options that only a thread or a process can have, and why. */
const NEEDS_ISOLATION = {
  env: 'all apps share the environment of this process',
  memoryLimit: 'all apps share the memory of this process',
  requestTimeout: 'nothing can end a request of an app in this process',
  heartbeatTimeout: 'an app that stands still stops this process',
} as const

function refuseContradictions(options: VhostRouterOptions): void {
  const { isolation = 'none', user } = options
  if (isolation === 'none') {
    for (const [name, why] of Object.entries(NEEDS_ISOLATION)) {
      const value = options[name as keyof typeof NEEDS_ISOLATION]
      if (value === undefined) continue
      throw optionError(`option '${name}' needs isolation: 'thread' or 'process': with 'none' ${why}`)
    }
  }
  if (user === undefined) return
  if (isolation !== 'process' && typeof isolation !== 'function') {
    throw optionError(`option 'user' needs isolation: 'process', not '${isolation}'`)
  }
  if (process.getuid?.() !== 0) throw optionError(`option 'user' needs a router that runs as root`)
}

function resolveTrust(value: unknown): Trusts {
  const isText = (part: unknown): boolean => typeof part === 'string'
  const isKnown = Array.isArray(value)
    ? Array.from(value).every(isText)
    : ['boolean', 'number', 'string', 'function'].includes(typeof value)
  if (!isKnown) {
    throw optionError(`option 'trustProxy' must be a value of Express's 'trust proxy', not ${shown(value)}`)
  }
  try {
    const trusts = compileTrust(value)
    if (typeof value !== 'function') return trusts
    return (address, hop) => checkGiven('trustProxy', trusts(address, hop))
  } catch (error) {
    throw optionError(`option 'trustProxy': ${(error as Error).message}`)
  }
}
