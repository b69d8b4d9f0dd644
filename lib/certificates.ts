import { createPrivateKey, X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { unlessGone } from './gone.ts'
import { readSmallFile, UnfitFile } from './small-file.ts'

/** What a server shows for a name, and proves with the key. */
export interface Certificate {
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
 * files are others. A pair that cannot be used leaves the one before it in use.
 */
export class Certificates {
  readonly #options: SecureContextOptions
  readonly #refused: Refused
  readonly #max: number
  /** In the order of their use, the least recent first. */
  readonly #known = new Map<string, Known>()
  readonly #readings = new Map<string, Promise<Certificate | undefined>>()

  constructor(options: SecureContextOptions, refused: Refused, max: number = MAX_CERTIFICATES) {
    this.#options = options
    this.#refused = refused
    this.#max = max
  }

  /** The certificate of a vhost now; undefined where it has none. Never rejects. */
  async of(realPath: string): Promise<Certificate | undefined> {
    const stamp = await stampOf(realPath)
    const known = this.#use(realPath)
    if (stamp === undefined) return this.#gone(realPath, known)
    if (known) known.goneAt = undefined
    if (known?.stamp === stamp) return known.certificate
    const reading = this.#readings.get(realPath) ?? this.#begin(realPath, stamp)
    return await reading
  }

  #use(realPath: string): Known | undefined {
    const known = this.#known.get(realPath)
    if (known) {
      this.#known.delete(realPath)
      this.#known.set(realPath, known)
    }
    return known
  }

  #gone(realPath: string, known: Known | undefined): Certificate | undefined {
    if (!known) return undefined
    const now = performance.now()
    known.goneAt ??= now
    if (known.certificate && now - known.goneAt < GONE_PAUSE) return known.certificate
    this.#known.delete(realPath)
    return undefined
  }

  #begin(realPath: string, stamp: string): Promise<Certificate | undefined> {
    const reading = this.#read(realPath, stamp).finally(() => this.#readings.delete(realPath))
    this.#readings.set(realPath, reading)
    return reading
  }

  async #read(realPath: string, stamp: string): Promise<Certificate | undefined> {
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
      if (before?.fault !== fault) this.#refused(realPath, error, certificate !== undefined)
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
        const certificate = toCertificate(key as string, cert as string, this.#options)
        return { certificate, stamp: after === stamp ? stamp : undefined }
      }
      stamp = after
    }
  }

  #note(realPath: string, known: Known): void {
    this.#known.delete(realPath)
    this.#known.set(realPath, known)
    const [oldest] = this.#known.keys()
    if (this.#known.size > this.#max && oldest !== undefined) this.#known.delete(oldest)
  }
}

/** @throws Error where key and certificate do not belong together, or one of them is broken */
function toCertificate(key: string, cert: string, options: SecureContextOptions): Certificate {
  const x509 = new X509Certificate(cert)
  // A context does without a key that is empty.
  const { passphrase } = options
  if (!x509.checkPrivateKey(createPrivateKey(passphrase === undefined ? key : { key, passphrase }))) {
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
