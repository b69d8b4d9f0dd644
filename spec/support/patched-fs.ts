import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

// biome-ignore lint/suspicious/noExplicitAny: any function of node:fs
type Call = (...values: any[]) => any

/** Replaces functions of `node:fs` and `node:fs/promises` for everything that imports them. */
export class PatchedFs {
  readonly #restore: (() => void)[] = []

  /** `replace` returns the replacement of a function, or undefined to keep it. */
  constructor(replace: (name: string, original: Call) => Call | undefined) {
    const patch = (functions: Record<string, Call>, name: string, fullName = name): void => {
      const original = functions[name]
      const replacement = original && replace(fullName, original)
      if (!replacement) return
      functions[name] = Object.assign(replacement, original)
      this.#restore.push(() => {
        functions[name] = original
      })
    }
    for (const functions of [fs, fsPromises] as unknown as Record<string, Call>[]) {
      for (const [name, value] of Object.entries(functions)) {
        if (typeof value !== 'function' || !/^[a-z]/.test(name)) continue
        // `fs.realpath.native` is a function by itself.
        if ('native' in value) patch(value as unknown as Record<string, Call>, 'native', `${name}.native`)
        patch(functions, name)
      }
    }
    syncBuiltinESMExports()
  }

  [Symbol.dispose](): void {
    for (const restore of this.#restore) restore()
    syncBuiltinESMExports()
  }
}

/** Notes every path that the file system is asked about. */
export class FsCalls extends PatchedFs {
  readonly paths: string[]

  constructor() {
    const paths: string[] = []
    super((_, original) => (...values) => {
      const [path] = values
      if (typeof path === 'string' || Buffer.isBuffer(path) || path instanceof URL) paths.push(String(path))
      return original(...values)
    })
    this.paths = paths
  }
}
