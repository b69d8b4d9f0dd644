import { createPrivateKey, X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { unlessGone } from './gone.ts'
import type { Place } from './served-names.ts'
import { readSmallFile, UnfitFile } from './small-file.ts'

/** What a server shows for a name, and proves with the key. */
export interface Certificate {
  /** The vhost that has it. */
  readonly realPath: string
  readonly context: SecureContext
  /** The first of the chain, which is the site's own. */
  readonly x509: X509Certificate
}

/** Told of a pair that cannot be used; `serving` says whether one that was read before stays in use. */
export type Refused = (realPath: string, error: Error, serving: boolean) => void

const FOLDER = 'certs'
const FILES = ['key.pem', 'cert.pem'] as const
const MAX_CERTIFICATES = 1000
const MAX_READINGS = 3
/** Bits of an RSA key: each handshake signs by it, for which all others wait, and twice as many take seven times as long. */
const MAX_RSA = 4096
/** A renewal may remove both files before it writes them: they are gone when they were so long. */
const GONE_PAUSE = 250

interface Known {
  certificate: Certificate | undefined
  /** What tells the files from others in their place; undefined where they are to be read again in any case. */
  stamp: string | undefined
  /** What was reported last, so that it is told once. */
  fault: string | undefined
  goneAt: number | undefined
}

/**
 * The certificates of vhosts, `<real path>/certs/{key,cert}.pem`: at most so many, each read once and again when its
 * files are others. A pair that cannot be used leaves the one before it in use, that of another release too where it was
 * found by the same path.
 */
export class Certificates {
  readonly #options: SecureContextOptions
  readonly #refused: Refused
  readonly #max: number
  /** In the order of their use, the least recent first. */
  readonly #known = new Map<string, Known>()
  /** In which release the last good pair was found by a path, in the order of their use. */
  readonly #lastGood = new Map<string, string>()
  readonly #readings = new Map<string, Promise<Certificate | undefined>>()

  constructor(options: SecureContextOptions, refused: Refused, max: number = MAX_CERTIFICATES) {
    this.#options = options
    this.#refused = refused
    this.#max = max
  }

  /** The certificate of a vhost now; undefined where it has none. Never rejects. */
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

  /** Lets go what is kept for a path that leads to no certificate any more. */
  forget(path: string): void {
    const realPath = this.#lastGood.get(path)
    if (realPath === undefined) return
    this.#lastGood.delete(path)
    // By another path, an alias, it may be in use.
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

  /** The last good one that was found by a path. */
  #before(path: string): Certificate | undefined {
    const realPath = this.#lastGood.get(path)
    return realPath === undefined ? undefined : this.#use(realPath)?.certificate
  }

  async #gone({ path, realPath }: Place): Promise<Certificate | undefined> {
    const before = this.#use(realPath)?.certificate ?? this.#before(path)
    // A folder that is away tells nothing about its files; whoever asks knows that it still serves.
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
      // What the disk could not give now is asked for again; what is wrong in the files stays so until they change.
      const isLasting = error.syscall === undefined
      this.#note(realPath, { certificate, stamp: isLasting ? stamp : undefined, fault, goneAt: undefined })
      if (before?.fault !== fault)
        this.#refused(realPath, error, (certificate ?? this.#before(path)) !== undefined)
      return certificate
    }
  }

  /** Reads until nothing changed meanwhile: half of an old file and half of a new one may look whole. */
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

/** Sets what was used last in a map of at most so many. */
function setLast<T>(map: Map<string, T>, key: string, value: T, max: number): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > max && oldest !== undefined) map.delete(oldest)
}

/** @throws Error where key and certificate do not belong together, one of them is broken, or the key is too large */
function toPair(key: string, cert: string, options: SecureContextOptions): Omit<Certificate, 'realPath'> {
  const x509 = new X509Certificate(cert)
  // A context does without a key that is empty.
  const { passphrase } = options
  const privateKey = createPrivateKey(passphrase === undefined ? key : { key, passphrase })
  // Nothing but RSA has a modulus that TLS signs by.
  const { modulusLength = 0 } = privateKey.asymmetricKeyDetails ?? {}
  if (modulusLength > MAX_RSA) throw new Error(`the key has more than ${MAX_RSA} bits`)
  if (!x509.checkPrivateKey(privateKey)) {
    throw new Error('the key is that of another certificate')
  }
  return { context: createSecureContext({ ...options, key, cert }), x509 }
}

async function readPem(path: string): Promise<string> {
  if (!(await stat(path)).isFile()) throw new UnfitFile(`${path} is no file`)
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

/** Undefined where there is neither file. */
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
    // Reading it will tell what is wrong.
    return String((error as NodeJS.ErrnoException).code)
  }
}
