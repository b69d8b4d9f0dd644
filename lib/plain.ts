import { causeOf } from './thrown.ts'

/** As the second argument of `JSON.stringify`: what JSON has no form for is written as text, an error by its parts. */
export function toPlain(_: string, value: unknown): unknown {
  if (value instanceof Error) return errorParts(value)
  return typeof value === 'bigint' || typeof value === 'symbol' ? String(value) : value
}

/** What operators need of an error. */
export function errorParts(error: unknown): { code: unknown; message: unknown; cause: string | null } {
  const { code, message, cause } = Object(error)
  return { code, message, cause: causeOf(cause) }
}
