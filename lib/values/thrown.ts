import { sep } from 'node:path'
import { inspect } from 'node:util'
import { withoutGeneration } from '../launch/generation-url.ts'

const LONGEST = 4000

/** What an app threw, which may be anything, as text; null if it threw nothing. */
export function causeOf(thrown: unknown): string | null {
  if (thrown === undefined) return null
  return (
    attempt(() => String(thrown)) ??
    attempt(() => inspect(thrown, { customInspect: false })) ??
    'what cannot be shown'
  )
}

/** The code of what an app threw, which may be anything. */
export function codeOf(thrown: unknown): string | undefined {
  return attempt(() => Object(thrown).code?.toString())
}

/** The stack of what an app threw, which may be anything. */
export function stackOf(thrown: unknown): string | null {
  const stack = attempt(() => Object(thrown).stack)
  return typeof stack === 'string' ? stack : null
}

/** Where below a folder something was thrown, as path and line: the first place there that its stack names. */
export function placeOf(thrown: unknown, folder: string): string | null {
  // A hostname that nothing serves has no release, and all paths would seem to lie in it.
  if (folder === '') return null
  for (const line of stackOf(thrown)?.split('\n') ?? []) {
    const start = line.indexOf(folder + sep)
    const [place] = (start >= 0 && /^[^()]*?:\d+/.exec(line.slice(start + folder.length))) || []
    if (place !== undefined) return folder + withoutGeneration(place)
  }
  return null
}

/**
 * A text that an app has made, which may be of any length, cut to what is kept and crosses a wall. It must fit into a
 * header, too.
 */
export function shortened<T extends string | null>(text: T): T | string {
  return text !== null && text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text
}

/** What `look` returns; undefined if it throws, as getters and proxies may. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
