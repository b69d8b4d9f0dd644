import { validateHeaderName, validateHeaderValue } from 'node:http'
import { isObject } from '../values/is-object.ts'
import { attempt, shortened } from '../values/thrown.ts'

/** An error as it passes between the router and the app's side, with what Express and its like look for. */
export interface PlainError {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string | number
  readonly status?: number
  readonly statusCode?: number
  readonly expose?: boolean
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** The properties of an error that are passed on. */
const PROPERTIES = ['code', 'status', 'statusCode', 'expose', 'type', 'headers'] as const
/** Characters of the JSON of one of them. */
const LONGEST = 4000

/** Whether an error arrived whole. */
export function isPlainError(value: unknown): value is PlainError {
  if (!isObject(value)) return false
  const { name, message, stack = '' } = value
  return [name, message, stack].every(text => typeof text === 'string')
}

/** Whatever was thrown, without those parts that cannot be read or expressed in JSON. */
export function plainError(thrown: unknown): PlainError {
  if (typeof thrown !== 'object' || thrown === null)
    return { name: 'Error', message: shortened(attempt(() => String(thrown)) ?? '') }
  const error = thrown as Partial<PlainError>
  const plain: Record<string, unknown> = {
    name: shortened(attempt(() => String(error.name ?? 'Error')) ?? 'Error'),
    message: shortened(attempt(() => String(error.message ?? '')) ?? ''),
  }
  const stack = attempt(() => error.stack)
  if (typeof stack === 'string') plain.stack = shortened(stack)
  for (const name of PROPERTIES) {
    const json = attempt(() => JSON.stringify(error[name]))
    // Not the value itself: a thread would clone it, or fail to.
    if (json !== undefined && json.length <= LONGEST) plain[name] = JSON.parse(json)
  }
  return plain as unknown as PlainError
}

const told = new WeakSet<object>()

/** Whether an error came from the app's side: its stack may name whatever the app likes. */
export function isTold(error: unknown): boolean {
  return told.has(Object(error))
}

/** The app controls the other side and may have written the error itself, so whatever is too long is cut here, too. */
export function toError(said: PlainError): Error {
  const plain = plainError(said)
  const { name, message, stack } = plain
  const error = new Error(message)
  told.add(error)
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true })
  if (stack !== undefined) error.stack = stack
  // By name: among properties that an app has made up, `__proto__` would become the error's prototype.
  for (const property of PROPERTIES) {
    const value = fitting(property, plain[property])
    if (Object.hasOwn(plain, property) && value !== undefined) Object.assign(error, { [property]: value })
  }
  return error
}

/**
 * A property that Express may answer with, or undefined if it is not valid. Express answers in a later turn, where
 * nobody would catch what Node throws at a bad status or header.
 */
function fitting(property: (typeof PROPERTIES)[number], value: unknown): unknown {
  if (property === 'headers') return isObject(value) ? fittingHeaders(value) : undefined
  if (property === 'status' || property === 'statusCode') return isStatus(value) ? value : undefined
  return value
}

function isStatus(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 999
}

/** With these an error could say where its own answer ends, on a connection that may serve others. */
const FRAMING =
  /^(?:connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i

function fittingHeaders(headers: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => !FRAMING.test(name) && isHeader(name, value)),
  )
}

function isHeader(name: string, value: unknown): boolean {
  const isText = [value].flat().every(part => typeof part === 'string' || typeof part === 'number')
  return isText && attempt(() => checkHeader(name, value as string)) === true
}

function checkHeader(name: string, value: string): true {
  validateHeaderName(name)
  validateHeaderValue(name, value)
  return true
}
