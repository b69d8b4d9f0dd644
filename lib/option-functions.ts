import { debug } from './events.ts'
import { optionError, shownOption } from './option-error.ts'
import { expectEnvironment, expectHeap, expectIsolation, expectPath } from './option-values.ts'

type Asked = 'isolation' | 'memoryLimit' | 'env' | 'getModulePaths' | 'trustProxy'

/**
 * What a function among the options gave, for one vhost or one address.
 * @throws TypeError `ERR_VHOST_OPTION` where that is bad: to go on without a limit, say, would be to fail open
 */
export function checkGiven<T>(name: Asked, value: T): T {
  // Of a promise, which is none of them, a rejection would end the process.
  if (value instanceof Promise) value.catch(error => debug(`option '%s' rejected: %o`, name, error))
  const expected = typeof value === 'function' ? 'no function' : GIVEN[name](value)
  if (expected) throw optionError(`option '${name}' must give ${expected}, not ${shownOption(name, value)}`)
  return value
}

/** What functions among the options give for one vhost, where that is not what the option itself may be. */
const GIVEN: Record<Asked, (value: unknown) => string | undefined> = {
  isolation: expectIsolation,
  memoryLimit: value => (value === undefined ? undefined : expectHeap(value)),
  env: expectEnvironment,
  // A hole is no path, and `every()` alone would pass it over.
  getModulePaths: value =>
    Array.isArray(value) && Array.from(value).every(path => expectPath(path) === undefined)
      ? undefined
      : 'an array of paths of folders',
  // Whatever a promise brings, it would itself be taken for yes.
  trustProxy: value => (value instanceof Promise ? 'true or false at once' : undefined),
}
