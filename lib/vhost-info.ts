import type { IncomingMessage } from 'node:http'

/** What `req.vhost` says of the vhost that a request was routed to. */
export interface VhostInfo {
  /** Lower case, no port, no trailing dot. */
  readonly hostname: string
  /** As the client sent it, with the port. */
  readonly host: string
  /** The vhost's folder, which may be a symlink. */
  readonly path: string
  /** The vhost's folder with every symlink resolved. */
  readonly realPath: string
  /** How many specifiers there are in the pattern of `vhostDir` that led there; 0 with `getVhostPath`. */
  readonly length: number
  /** What each of them stands for. */
  readonly [index: number]: string
}

/** A request, and the vhost that it was routed to. */
export type RoutedRequest = IncomingMessage & { vhost?: VhostInfo }

/** Where the folder of a host lies on disk now. */
export interface VhostFolder {
  readonly hostname: string
  /** The vhost's folder, which may be a symlink. */
  readonly path: string
  /** The vhost's folder with every symlink resolved. */
  readonly realPath: string
  /**
   * Whether the folder was made for this hostname: true if the whole name stands in the pattern, as in `%0` or
   * `%-1/%-2+`; never for a wildcard or a default. With `getVhostPath`: whether a folder in its path bears the name.
   */
  readonly isExact: boolean
}

/** What is known of a hostname, and of where it leads. */
interface Known {
  readonly hostname: string
  readonly vhostPath: string
  readonly realPath: string
  readonly captures: readonly string[]
}

/** What requests to a hostname last got as `req.vhost`. */
export interface Told {
  info: VhostInfo | undefined
  /** Host as in `info`. If it equals the hostname, it is the same string, which the look-up has just compared. */
  spelling: string
}

/** One object for all requests that spell Host alike, as nearly all do. */
export function infoOf(vhost: Known & Told, host: string): VhostInfo {
  if (vhost.info === undefined || vhost.spelling !== host) {
    vhost.info = makeInfo(vhost, host)
    vhost.spelling = host === vhost.hostname ? vhost.hostname : host
  }
  return vhost.info
}

export function makeInfo({ hostname, vhostPath: path, realPath, captures }: Known, host: string): VhostInfo {
  return Object.freeze({ ...captures, hostname, host, path, realPath, length: captures.length })
}

export function tellVhost(req: RoutedRequest, info: VhostInfo): void {
  req.vhost = info
}
