const GENERATION = /[?&]express-van=(\d+)(?:\.\w+)?/

/**
 * The generation of a release that is loaded only once, in a thread or process of its own: its URLs stay as they are.
 */
export const ONLY_GENERATION = 0

/** The generation that a URL names; undefined if it names none. */
export function generationIn(url: string): string | undefined {
  return GENERATION.exec(url)?.[1]
}

/** A URL with its generation that still ends as it did: many loaders tell by the ending whether a module is theirs. */
export function withGeneration(url: string, generation: number | string): string {
  const extension = /\.\w+$/.exec(url)?.[0] ?? ''
  return `${url}${url.includes('?') ? '&' : '?'}express-van=${generation}${extension}`
}

/** The same for a URL that may already name a generation, and for any release, also one that is loaded only once. */
export function named(url: string, generation: string): string {
  return generationIn(url) !== undefined || generation === String(ONLY_GENERATION)
    ? url
    : withGeneration(url, generation)
}

export function withoutGeneration(url: string): string {
  return url.replace(GENERATION, '')
}
