import { isPromise } from '../promises/rejection.ts'

const HOOKS = ['close', 'upgrade'] as const

/**
 * `module.exports` of CommonJS, once it has resolved if it is a promise. The hooks that were exported as properties of
 * the promise would be lost with it.
 */
export async function awaitedExports(exports: unknown): Promise<unknown> {
  if (!isPromise(exports)) return exports
  const resolved: unknown = await exports
  const hooks = HOOKS.filter(name => Object.hasOwn(exports, name))
  // A thenable app, such as one of Fastify, has methods of its own.
  if (resolved === exports || hooks.length === 0) return resolved
  return { default: resolved, ...Object.fromEntries(hooks.map(name => [name, Reflect.get(exports, name)])) }
}
