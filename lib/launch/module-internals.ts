import Module from 'node:module'

/** The module that asks. */
export interface Parent {
  readonly filename?: string | null
  readonly path?: string
}

/** Ends what `registerHooks()` began. */
export interface Registered {
  deregister(): void
}

interface ModuleInternals {
  readonly prototype: { load(file: string): void }
  readonly _extensions: object
  _pathCache: object
  _load(request: string, parent: Parent | undefined, isMain?: boolean): unknown
  _resolveFilename(request: string, parent: Parent | undefined, ...rest: unknown[]): string
  _findPath(request: string, folders: readonly string[], ...rest: unknown[]): string | false
  register(url: string, options: { data: unknown; transferList: unknown[] }): void
  registerHooks(hooks: object): Registered
}

/** The members of `node:module` that are used here and that its types do not declare. */
export const internals: ModuleInternals = Module as unknown as ModuleInternals

/** Whether hooks run in the thread of the modules. Those of Node 20 are registered and run in a thread of their own. */
export const hasHooksHere: boolean = 'registerHooks' in Module
