import { createHash, timingSafeEqual } from 'node:crypto'

/** Compares two secrets in a time that does not tell how much of them is equal. */
export function isSecretEqual(one: string | Buffer, other: string | Buffer): boolean {
  const [first, second] = [one, other].map(secret => createHash('sha256').update(secret).digest())
  return timingSafeEqual(first as Buffer, second as Buffer)
}
