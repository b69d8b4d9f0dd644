import { causeOf } from './thrown.ts'

/**
 * For the second argument of `JSON.stringify`: writes bigints and symbols, which JSON has no form for, as text, and an
 * error as its parts.
 */
export function toPlain(_: string, value: unknown): unknown {
  if (value instanceof Error) return errorParts(value)
  return typeof value === 'bigint' || typeof value === 'symbol' ? String(value) : value
}

/** The parts of an error that operators need. */
export function errorParts(error: unknown): { code: unknown; message: unknown; cause: string | null } {
  const { code, message, cause } = Object(error)
  return { code, message, cause: causeOf(cause) }
}
