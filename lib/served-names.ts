import type { VhostFolder } from './vhost-info.ts'

/** Where the certificate of a vhost, and its release, lie. */
export type Place = Pick<VhostFolder, 'path' | 'realPath'>

/** What a router tells the other parts of the library about the names that it serves. */
export interface ServedNames {
  /**
   * From where requests for any raw Host are answered now; undefined where no app serves it. `path`, where its folder
   * lies, saves a look.
   */
  placeOf(host: string, path: string | undefined): Promise<Place | undefined>
  /** Told of each path that was deleted for good, once no name is served by it any more. */
  whenVacated(listener: (path: string) => void): void
}

/** Has what a router serves found by `servedNames()`. */
export function tellServedNames(router: object, names: ServedNames): void {
  known.set(router, names)
}

/** What a router serves; undefined for what only looks like a router. */
export function servedNames(router: object): ServedNames | undefined {
  return known.get(router)
}

// Not members of the router: those are for everybody.
const known = new WeakMap<object, ServedNames>()
