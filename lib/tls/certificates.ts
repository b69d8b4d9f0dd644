import { createPrivateKey, X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { unlessGone } from '../files/gone.ts'
import { readSmallFile, UnfitFile } from '../files/small-file.ts'
import type { Place } from '../served-names.ts'

/** What a server shows for a hostname, and the key that proves it. */
export interface Certificate {
  /** The real path of the vhost that has it. */
  readonly realPath: string
  readonly context: SecureContext
  /** The first certificate of the chain, which is the site's own. */
  readonly x509: X509Certificate
}

/**
 * Called when a key and certificate cannot be used; `serving` says whether a pair that was read before stays in use.
 */
export type Refused = (realPath: string, error: Error, serving: boolean) => void

const FOLDER = 'certs'
const FILES = ['key.pem', 'cert.pem'] as const
const MAX_CERTIFICATES = 1000
const MAX_READINGS = 3
/**
 * Bits of an RSA key. Each handshake signs with it while all others wait, and twice as many bits take seven times as
 * long.
 */
const MAX_RSA = 4096
/** Both files are gone once missing for this many milliseconds: a renewal may remove both before it writes them. */
const GONE_PAUSE = 250

interface Known {
  certificate: Certificate | undefined
  /** Tells the files from others in their place; undefined if they must be read again in any case. */
  stamp: string | undefined
  /** The fault reported last, so that it is reported once. */
  fault: string | undefined
  goneAt: number | undefined
}

/**
 * The certificates of vhosts, `<real path>/certs/{key,cert}.pem`: up to a maximum, each read once, and again when its
 * files change. A pair that cannot be used leaves the one before it in use, even that of another release if it was
 * found by the same path.
 */
export class Certificates {
  readonly #options: SecureContextOptions
  readonly #refused: Refused
  readonly #max: number
  /** By real path, the least recently used first. */
  readonly #known = new Map<string, Known>()
  /** The real path of the last good pair that was found by a path, the least recently used first. */
  readonly #lastGood = new Map<string, string>()
  readonly #readings = new Map<string, Promise<Certificate | undefined>>()

  constructor(options: SecureContextOptions, refused: Refused, max: number = MAX_CERTIFICATES) {
    this.#options = options
    this.#refused = refused
    this.#max = max
  }

  /** The certificate of a vhost now; undefined if it has none. Never rejects. */
  async of(place: Place): Promise<Certificate | undefined> {
    const { path, realPath } = place
    const stamp = await stampOf(realPath)
    if (stamp === undefined) return await this.#gone(place)
    const known = this.#use(realPath)
    if (known) known.goneAt = undefined
    const isRead = known?.stamp === stamp
    const certificate = isRead ? known.certificate : await this.#reading(place, stamp)
    if (!certificate) return this.#before(path)
    setLast(this.#lastGood, path, realPath, this.#max)
    return certificate
  }

  /** Forgets what is kept for a path that no longer leads to a certificate. */
  forget(path: string): void {
    const realPath = this.#lastGood.get(path)
    if (realPath === undefined) return
    this.#lastGood.delete(path)
    // It may be in use by another path, such as an alias.
    if (![...this.#lastGood.values()].includes(realPath)) this.#known.delete(realPath)
  }

  #use(realPath: string): Known | undefined {
    const known = this.#known.get(realPath)
    if (known) {
      this.#known.delete(realPath)
      this.#known.set(realPath, known)
    }
    return known
  }

  /** The last good certificate that was found by a path. */
  #before(path: string): Certificate | undefined {
    const realPath = this.#lastGood.get(path)
    return realPath === undefined ? undefined : this.#use(realPath)?.certificate
  }

  async #gone({ path, realPath }: Place): Promise<Certificate | undefined> {
    const before = this.#use(realPath)?.certificate ?? this.#before(path)
    // A missing folder says nothing about its files, and the caller knows that the release still serves.
    const isAway = before && !(await isThere(realPath))
    const known = this.#known.get(realPath)
    const now = performance.now()
    if (known) known.goneAt = isAway ? undefined : (known.goneAt ?? now)
    if (isAway || (known?.goneAt !== undefined && now - known.goneAt < GONE_PAUSE)) return before
    this.#known.delete(realPath)
    return undefined
  }

  #reading(place: Place, stamp: string): Promise<Certificate | undefined> {
    const { realPath } = place
    const begun = this.#readings.get(realPath)
    if (begun) return begun
    const reading = this.#read(place, stamp).finally(() => this.#readings.delete(realPath))
    this.#readings.set(realPath, reading)
    return reading
  }

  async #read({ path, realPath }: Place, stamp: string): Promise<Certificate | undefined> {
    try {
      const settled = await this.#settled(realPath, stamp)
      this.#note(realPath, { ...settled, fault: undefined, goneAt: undefined })
      return settled.certificate
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException
      const before = this.#known.get(realPath)
      const certificate = before?.certificate
      const fault = `${stamp} ${error.message}`
      // A disk error may pass, so the files are read again; a fault in their contents lasts until they change.
      const isLasting = error.syscall === undefined
      this.#note(realPath, { certificate, stamp: isLasting ? stamp : undefined, fault, goneAt: undefined })
      if (before?.fault !== fault)
        this.#refused(realPath, error, (certificate ?? this.#before(path)) !== undefined)
      return certificate
    }
  }

  /** Reads until the files do not change meanwhile: half of an old file and half of a new one may look whole. */
  async #settled(
    realPath: string,
    first: string,
  ): Promise<Pick<Known, 'stamp'> & { certificate: Certificate }> {
    let stamp: string | undefined = first
    for (let reading = 1; ; reading++) {
      const [key, cert] = await Promise.all(FILES.map(name => readPem(join(realPath, FOLDER, name))))
      const after = await stampOf(realPath)
      if (after === stamp || reading === MAX_READINGS) {
        const pair = toPair(key as string, cert as string, this.#options)
        const certificate = { realPath, ...pair }
        return { certificate, stamp: after === stamp ? stamp : undefined }
      }
      stamp = after
    }
  }

  #note(realPath: string, known: Known): void {
    setLast(this.#known, realPath, known, this.#max)
  }
}

/** Sets an entry as the most recently used one; if there are more than `max`, the oldest goes. */
function setLast<T>(map: Map<string, T>, key: string, value: T, max: number): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > max && oldest !== undefined) map.delete(oldest)
}

/** @throws Error if key and certificate do not belong together, one of them is broken, or the key is too large */
function toPair(key: string, cert: string, options: SecureContextOptions): Omit<Certificate, 'realPath'> {
  const x509 = new X509Certificate(cert)
  // Parsed here because createSecureContext() accepts an empty key.
  const { passphrase } = options
  const privateKey = createPrivateKey(passphrase === undefined ? key : { key, passphrase })
  // Of the keys that TLS signs with, only RSA has a modulus.
  const { modulusLength = 0 } = privateKey.asymmetricKeyDetails ?? {}
  if (modulusLength > MAX_RSA) throw new Error(`the key has more than ${MAX_RSA} bits`)
  if (!x509.checkPrivateKey(privateKey)) {
    throw new Error('the key is that of another certificate')
  }
  return { context: createSecureContext({ ...options, key, cert }), x509 }
}

async function readPem(path: string): Promise<string> {
  if (!(await stat(path)).isFile()) throw new UnfitFile(`${path} is not a file`)
  return await readSmallFile(path).catch(error => {
    throw error instanceof UnfitFile ? new UnfitFile(`${path} ${error.message}`) : error
  })
}

async function isThere(folder: string): Promise<boolean> {
  return await stat(folder).then(
    stats => stats.isDirectory(),
    () => false,
  )
}

/** Undefined if there is neither file. */
async function stampOf(realPath: string): Promise<string | undefined> {
  const stamps = await Promise.all(FILES.map(name => stampOfFile(join(realPath, FOLDER, name))))
  return stamps.every(stamp => stamp === '-') ? undefined : stamps.join(' ')
}

async function stampOfFile(path: string): Promise<string> {
  try {
    const stats = await unlessGone(stat(path, { bigint: true }))
    if (!stats) return '-'
    return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`
  } catch (error) {
    // Reading the file will show what is wrong.
    return String((error as NodeJS.ErrnoException).code)
  }
}
