import type { VhostRouterOptions } from '../options.ts'
import { OPERATOR, PASSWORD_VARIABLE } from './operator.ts'

export type CommandName = 'serve' | 'status' | 'why' | 'reload' | 'events'

export interface Flag {
  /** What follows it; undefined if it stands alone. */
  readonly value?: string
  readonly isRepeatable?: boolean
  readonly text: string
  /** The option of `vhostRouter()` that it sets. */
  readonly option?: keyof VhostRouterOptions
}

interface CommandUse {
  /** What follows the command; undefined if it stands alone. */
  readonly operand?: string
  readonly text: string
  readonly flags: Record<string, Flag>
}

/** The flag that every command has. */
export const HELP: Record<string, Flag> = {
  help: { text: 'print this' },
}

const CONTROL: Record<string, Flag> = {
  json: { text: 'print JSON' },
  port: { value: 'number', text: 'the server that listens on this port (3000)' },
  socket: { value: 'path', text: 'the server with this control socket' },
}

/** The flags of `why` that say where its `--base-path` has vhosts and apps. */
export const PLACES: Record<string, Flag> = {
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

/** The flags that set options of `vhostRouter()`, and two that `serve` reads itself. */
export const ROUTER: Record<string, Flag> = {
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
    text: 'how long an isolated app may take to begin its answer (0: no limit)',
  },
  'heartbeat-timeout': {
    value: 'ms',
    option: 'heartbeatTimeout',
    text: 'how long an isolated app may stand still before it is killed (1500; 0: for ever)',
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

export const COMMANDS: Readonly<Record<CommandName, CommandUse>> = {
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

export function isCommandName(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word)
}
