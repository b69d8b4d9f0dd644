const GENERATION = /[?&]express-van=(\d+)(?:\.\w+)?/

/** Of a release that is loaded only once, in a thread or process of its own: its URLs stay as they are. */
export const ONLY_GENERATION = 0

/** The generation that a URL names; undefined where it names none. */
export function generationIn(url: string): string | undefined {
  return GENERATION.exec(url)?.[1]
}

/** A URL that names its generation, and ends as it did: many loaders tell by that whether a module is theirs. */
export function withGeneration(url: string, generation: number | string): string {
  const extension = /\.\w+$/.exec(url)?.[0] ?? ''
  return `${url}${url.includes('?') ? '&' : '?'}express-van=${generation}${extension}`
}

/** The same, of a URL that may name one already, and for one of any release. */
export function named(url: string, generation: string): string {
  return generationIn(url) !== undefined || generation === String(ONLY_GENERATION)
    ? url
    : withGeneration(url, generation)
}

export function withoutGeneration(url: string): string {
  return url.replace(GENERATION, '')
}
