import { IncomingMessage } from 'node:http'
import { optionError, shown, unknownOption } from './option-error.ts'

/**
 * The known options of an object, each read once, so that what is checked is what is used, whether it is the object's
 * own, inherited or a getter.
 *
 * @throws TypeError `ERR_VHOST_OPTION` if it is no object, or has an option that `owner` does not have
 */
export function givenOptions<Options extends object>(
  owner: string,
  options: Options,
  known: readonly string[],
): { [name in keyof Options]?: Options[name] | undefined } {
  if (!holdsNames(options)) {
    throw optionError(`${owner} takes an object of options, not ${shown(options)}`)
  }
  // The function was mounted itself, instead of what it returns.
  if (options instanceof IncomingMessage)
    throw optionError(`${owner} was given a request: mount what it returns, as in app.use(${owner})`)
  for (const name in options) {
    if (isGiven(options, name) && !known.includes(name)) throw unknownOption(owner, name, known)
  }
  const given = known.map(name => [name, isGiven(options, name) ? Reflect.get(options, name) : undefined])
  return Object.fromEntries(given)
}

/**
 * Whether a value is an object of names and values: a Map or a promise has no names of its own, and would give no
 * options.
 */
export function holdsNames(value: unknown): value is object {
  return /^\[object (Object|Module)\]$/.test(Object.prototype.toString.call(value))
}

/** What every object inherits was not given, even if some library put it there. */
function isGiven(options: object, name: string): boolean {
  return Object.hasOwn(options, name) || (name in options && !(name in Object.prototype))
}
