import { stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { inspect } from 'node:util'
import { expectRouter } from './expect-router.ts'
import { unlessGone } from './files/gone.ts'
import { VhostError, type VhostFolder, type VhostRouter } from './index.ts'
import { givenOptions, holdsNames } from './options/given-options.ts'
import { optionError, shown } from './options/option-error.ts'
import { type Place, servedNames } from './served-names.ts'
import { segmentsInside } from './static-options.ts'
import { type Certificate, Certificates } from './tls/certificates.ts'
import { rivalOf } from './tls/key-kinds.ts'
import { printableEntry } from './values/printable.ts'

/** Options of `vhostTls()`. */
export interface VhostTlsOptions {
  /**
   * What `tls.createSecureContext()` takes, for the contexts of vhosts: they inherit neither `ca` nor `ciphers` from
   * the options of the server. Key and certificate are each vhost's own.
   */
  secureContext?: SecureContextOptions | undefined
  /**
   * Called once for each key or certificate that cannot be used, or that Node does not show to every client.
   * @default writes it to stderr
   */
  onError?: ((error: Error, about: VhostTlsFault) => void) | undefined
}

export interface VhostTlsFault {
  readonly realPath: string
  /** Whether the pair that was read before stays in use; otherwise clients are shown the server's own certificate. */
  readonly serving: boolean
}

/** Options of `ask()`. */
export interface AskOptions {
  /** The document root's folder inside a vhost, as for `static()`. @default 'static' */
  dir?: string | undefined
}

type Handler = (req: IncomingMessage, res: ServerResponse) => void
type Middleware = (
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next: (error?: unknown) => void,
) => void

/** TLS for vhosts that are found by the same look-up as for requests. All members are bound. */
export interface VhostTls {
  /**
   * Finds the certificate of a vhost, `<vhost>/certs/{key,cert}.pem`; an option of `https.createServer()` and
   * `http2.createSecureServer()`. A name without one gets the server's own.
   */
  SNICallback(
    servername: string,
    callback: (error: Error | null, context?: SecureContext | undefined) => void,
  ): void
  /** Refuses with 421 a request on a connection that was made for a name with another certificate. */
  misdirected: Middleware
  /**
   * A handler for Caddy's on-demand TLS, which asks with `?domain=`: 200 if the name has a folder of its own, by no
   * wildcard and no default, with an app or a document root in it; else 404, or 400 if it is not a hostname.
   */
  ask(options?: AskOptions): Handler
}

/**
 * TLS for the vhosts of a router.
 *
 * @example
 * const tls = vhostTls(vhosts)
 * app.use(tls.misdirected) // before static() and the router
 * https.createServer({ key, cert, SNICallback: tls.SNICallback }, app).listen(443)
 *
 * @throws TypeError `ERR_VHOST_OPTION` on an unknown option or a bad value
 */
export function vhostTls(
  vhosts: Pick<VhostRouter, 'lookup' | 'why'>,
  options: VhostTlsOptions = {},
): VhostTls {
  expectRouter('vhostTls()', vhosts, ['lookup', 'why'])
  const { secureContext = {}, onError = writeError } = checkOptions('vhostTls()', options, {
    secureContext: 'object',
    onError: 'function',
  })
  checkSecureContext(secureContext)
  const certificates = new Certificates(secureContext, tell)
  const comparedToServers = new WeakSet<Certificate>()
  const served = servedNames(vhosts)
  served?.whenVacated(path => certificates.forget(path))

  // Node calls it on the socket, but a wrapper may not.
  function SNICallback(
    this: unknown,
    servername: string,
    callback: Parameters<VhostTls['SNICallback']>[1],
  ): void {
    find(servername).then(
      certificate => {
        if (certificate) tellRival(this, certificate)
        callback(null, certificate?.context)
      },
      // Not with the server's own certificate: a client would take it for an attack.
      error => callback(error),
    )
  }

  function tell(realPath: string, error: Error, serving: boolean): void {
    try {
      onError(error, { realPath, serving })
    } catch (mistake) {
      // A mistake in onError must not fail a handshake that can be served.
      console.error('express-van: onError of vhostTls() threw:', mistake)
    }
  }

  function tellRival(socket: unknown, certificate: Certificate): void {
    // A connection that has gone no longer knows the server's own certificate.
    if (Object(socket).destroyed || comparedToServers.has(certificate)) return
    comparedToServers.add(certificate)
    const rival = rivalOf(socket, certificate.x509)
    if (rival !== undefined) tell(certificate.realPath, new Error(rival), false)
  }

  async function find(servername: string): Promise<Certificate | undefined> {
    return await certificateOf(servername, await knownPlaceOf(servername))
  }

  async function certificateOf(host: string, place: Place | undefined): Promise<Certificate | undefined> {
    const certificate = place && (await certificates.of(place))
    if (certificate || !place) return certificate
    const serving = await served?.placeOf(host, place.path)
    // The release there does not load, or is not loaded yet: the one before it serves on.
    if (serving && serving.realPath !== place.realPath) return await certificates.of(serving)
    // Only for a name that is served: anybody may make up one that is not, while others are served by the same path.
    if (serving) certificates.forget(place.path)
    return undefined
  }

  /** As `placeOf`, but a name that no request could have leads nowhere. */
  async function knownPlaceOf(host: string): Promise<Place | undefined> {
    try {
      return await placeOf(host)
    } catch (error) {
      if (isRefused(error)) return undefined
      throw error
    }
  }

  /**
   * Where requests for a host are served from. A look may fall into a deploy, or fail. If it does not lead to the path
   * that the router serves the name by, that path counts until the router itself lets go of it.
   */
  async function placeOf(host: string): Promise<Place | undefined> {
    let found: Place | undefined
    let failure: unknown
    try {
      found = await vhosts.lookup(host)
    } catch (error) {
      failure = error
    }
    const serving = await served?.placeOf(host, found?.path)
    if (serving && serving.path !== found?.path) return serving
    if (failure) throw failure
    return found
  }

  function misdirected(req: IncomingMessage, _: ServerResponse, next: (error?: unknown) => void): void {
    const servername = servernameOf(req)
    const host = authorityOf(req)
    if (servername === undefined || host === undefined || bare(host) === servername) {
      next()
      return
    }
    haveOneCertificate(servername, host).then(
      isOne => next(isOne ? undefined : new VhostError('ERR_VHOST_MISDIRECTED', { hostname: bare(host) })),
      // The router refuses this Host in its own words.
      error => next(isRefused(error) ? undefined : error),
    )
  }

  async function haveOneCertificate(servername: string, host: string): Promise<boolean> {
    const [asked, wanted] = await Promise.all([knownPlaceOf(servername), placeOf(host)])
    if (asked?.realPath === wanted?.realPath) return true
    const [shown, own] = await Promise.all([certificateOf(servername, asked), certificateOf(host, wanted)])
    if (own) return shown?.x509.fingerprint256 === own.x509.fingerprint256
    return shown === undefined || shown.x509.checkHost(bare(host)) !== undefined
  }

  function ask(askOptions: AskOptions = {}): Handler {
    const { dir = 'static' } = checkOptions('ask()', askOptions, { dir: 'string' })
    segmentsInside(dir, 'ask()')
    return function askHandler(req, res) {
      statusOf(domainOf(req), dir).then(
        status => answer(res, status),
        () => answer(res, 500),
      )
    }
  }

  async function statusOf(domain: string | undefined, dir: string): Promise<number> {
    if (domain === undefined) return 400
    let folder: VhostFolder | undefined
    try {
      folder = await vhosts.lookup(domain)
    } catch (error) {
      if (isRefused(error)) return 400
      throw error
    }
    if (!folder?.isExact) return 404
    const documents = await unlessGone(stat(join(folder.realPath, dir)))
    return documents?.isDirectory() || (await vhosts.why(domain)).outcome === 'app' ? 200 : 404
  }

  return { SNICallback, misdirected: misdirected as Middleware, ask }
}

function isRefused(error: unknown): boolean {
  return error instanceof VhostError && error.code === 'ERR_VHOST_HOST'
}

/** The name that the client asked for when it connected; undefined without TLS, and if it named none. */
function servernameOf(req: IncomingMessage): string | undefined {
  try {
    const { servername } = req.socket as { servername?: unknown }
    return typeof servername === 'string' && servername !== '' ? servername.toLowerCase() : undefined
  } catch {
    // Thrown by the socket of an HTTP/2 session that has ended.
    return undefined
  }
}

// If Host differs from the target of the request, the router answers 400.
function authorityOf(req: IncomingMessage): string | undefined {
  const authority = req.headers[':authority']
  return typeof authority === 'string' ? authority : req.headers.host
}

/** A well-formed host, without port and trailing dot, in lower case. */
function bare(host: string): string {
  return host.replace(/\.?(?::\d*)?$/, '').toLowerCase()
}

/** The value of `?domain=`, if there is exactly one and a certificate could hold it: no port, no trailing dot. */
function domainOf(req: IncomingMessage & { originalUrl?: unknown }): string | undefined {
  const url = typeof req.originalUrl === 'string' ? req.originalUrl : (req.url ?? '')
  const [domain, ...more] = new URLSearchParams(url.replace(/^[^?]*/, '')).getAll('domain')
  return domain === undefined || more.length > 0 || /[:[\]]|\.$/.test(domain) ? undefined : domain
}

function answer(res: ServerResponse, status: number): void {
  res.writeHead(status, { 'Cache-Control': 'no-store', 'Content-Length': 0 }).end()
}

function checkOptions<Options extends object>(
  owner: string,
  options: Options,
  types: Record<string, string>,
): { [name in keyof Options]?: Options[name] | undefined } {
  const given = givenOptions(owner, options, Object.keys(types))
  for (const [name, value] of Object.entries(given)) {
    const type = types[name]
    const isGood = type === 'object' ? holdsNames(value) : typeof value === type
    if (value !== undefined && !isGood) {
      throw optionError(`option '${name}' of ${owner} must be of type ${type}, not ${shown(value)}`)
    }
  }
  return given
}

/** Otherwise each handshake would find the mistake, and take it for a fault of each certificate. */
function checkSecureContext(options: SecureContextOptions): void {
  try {
    createSecureContext({ ...options, key: undefined, cert: undefined })
  } catch (error) {
    throw optionError(`option 'secureContext' of vhostTls(): ${(error as Error).message}`)
  }
}

function writeError(error: Error, { realPath, serving }: VhostTlsFault): void {
  const consequence = serving ? 'the one before it stays in use' : `clients are shown the server's own`
  const told = inspect(error)
  console.error(
    printableEntry(`express-van: the certificate of ${realPath} is not used, ${consequence}: ${told}`),
  )
}
