import { debug } from '../events.ts'
import { optionError, shownOption } from './option-error.ts'
import { expectEnvironment, expectHeap, expectIsolation, expectPath } from './option-values.ts'

type Asked = 'isolation' | 'memoryLimit' | 'env' | 'getModulePaths' | 'trustProxy'

/**
 * Checks what a function among the options returned, for one vhost or one address.
 * @throws TypeError `ERR_VHOST_OPTION` if that is bad: to go on, without a limit for instance, would be to fail open
 */
export function checkGiven<T>(name: Asked, value: T): T {
  // No option takes a promise, but its rejection would end the process.
  if (value instanceof Promise) value.catch(error => debug(`option '%s' rejected: %o`, name, error))
  const expected = typeof value === 'function' ? 'no function' : GIVEN[name](value)
  if (expected) throw optionError(`option '${name}' must give ${expected}, not ${shownOption(name, value)}`)
  return value
}

/** What these functions may return: each check gives what was expected, or undefined if the value is good. */
const GIVEN: Record<Asked, (value: unknown) => string | undefined> = {
  isolation: expectIsolation,
  memoryLimit: value => (value === undefined ? undefined : expectHeap(value)),
  env: expectEnvironment,
  // A hole is no path, but `every()` alone would pass over it.
  getModulePaths: value =>
    Array.isArray(value) && Array.from(value).every(path => expectPath(path) === undefined)
      ? undefined
      : 'an array of paths of folders',
  // A promise counts as true, whatever it resolves to.
  trustProxy: value => (value instanceof Promise ? 'true or false at once' : undefined),
}
