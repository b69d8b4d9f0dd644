import type { VhostFolder } from './vhost-info.ts'

/** Where a vhost lies, and so its release and its certificate. */
export type Place = Pick<VhostFolder, 'path' | 'realPath'>

/** What a router tells the other parts of the library about the hostnames that it serves. */
export interface ServedNames {
  /**
   * Where requests for any raw Host are served from now; undefined if no app serves it. `path`, its vhost path if
   * known, saves a look.
   */
  placeOf(host: string, path: string | undefined): Promise<Place | undefined>
  /** Calls `listener` with each vhost path that was deleted for good, once no hostname is served from it any more. */
  whenVacated(listener: (path: string) => void): void
}

/** Lets `servedNames()` find what a router serves. */
export function tellServedNames(router: object, names: ServedNames): void {
  known.set(router, names)
}

/** What a router serves; undefined for an object that only looks like a router. */
export function servedNames(router: object): ServedNames | undefined {
  return known.get(router)
}

// Not members of the router, which are for everybody.
const known = new WeakMap<object, ServedNames>()
