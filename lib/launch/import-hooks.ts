import Module, { syncBuiltinESMExports } from 'node:module'

interface Registered {
  deregister(): void
}

interface HookableModule {
  registerHooks(hooks: object): Registered
  _load(...values: unknown[]): unknown
  readonly prototype: { load(file: string): void }
}

const hookable = Module as unknown as HookableModule

/**
 * Registers hooks that have nothing to say about what is required. As long as there is any hook, Node makes URLs of the
 * files at each `require()` of the program, and takes two to four times as long to find one. So these are away while it
 * does, and are back before anything of what it found runs; where others come after them, which are to be asked first,
 * they stay.
 */
export function registerImportHooks(hooks: object): void {
  const { registerHooks, _load: load } = hookable
  const { load: run } = hookable.prototype
  let registered: Registered | undefined = registerHooks(hooks)
  let areLast = true

  hookable._load = function restingLoad(...values) {
    if (areLast) {
      registered?.deregister()
      registered = undefined
    }
    try {
      return Reflect.apply(load, this, values)
    } finally {
      comeBack()
    }
  }

  hookable.prototype.load = function wakingRun(file) {
    comeBack()
    Reflect.apply(run, this, [file])
  }

  hookable.registerHooks = function registerAfter(others) {
    areLast = false
    return Reflect.apply(registerHooks, this, [others])
  }
  // For who has imported the function by its name.
  syncBuiltinESMExports()

  function comeBack(): void {
    registered ??= registerHooks(hooks)
  }
}
