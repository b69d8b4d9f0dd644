import { syncBuiltinESMExports } from 'node:module'
import { internals, type Registered } from './module-internals.ts'

/**
 * Registers hooks that do not concern what is required. While any hook is registered, Node makes URLs of the files at
 * each `require()` of the program, and takes two to four times as long to find one. So these hooks are away while Node
 * searches, and are back before anything it found runs. If others are registered after them, which must be asked first,
 * they stay.
 */
export function registerImportHooks(hooks: object): void {
  const { registerHooks, _load: load } = internals
  const { load: run } = internals.prototype
  let registered: Registered | undefined = registerHooks(hooks)
  let areLast = true

  internals._load = function restingLoad(...values) {
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

  internals.prototype.load = function wakingRun(file) {
    comeBack()
    Reflect.apply(run, this, [file])
  }

  internals.registerHooks = function registerAfter(others) {
    areLast = false
    return Reflect.apply(registerHooks, this, [others])
  }
  // For code that has imported the function by its name.
  syncBuiltinESMExports()

  function comeBack(): void {
    registered ??= registerHooks(hooks)
  }
}
