import { mkdir, open, readdir, rename, rm, rmdir, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Find, MotionLog, type Rules } from './motion-log.ts'
import type { Random } from './random.ts'

export const LAYOUTS = ['plain', 'link', 'current', 'chain', 'aliased'] as const
export type Layout = (typeof LAYOUTS)[number]

/**
 * What apps are made of. With packages, each app has its own, one of which makes Node require an ES module, as Express
 * 5 does.
 */
export type System = 'CommonJS' | 'ES modules' | 'packages'

export const FAULTS = ['syntax', 'throw', 'dependency', 'handler'] as const
export type Fault = (typeof FAULTS)[number]

/** What is in the folder of a release. */
export interface Release {
  folder: string
  hasApp: boolean
  /** What the entry says it is; undefined if there is none, or one that does not load. */
  entry: string | undefined
  lib: string | undefined
}

/** A hostname and where it leads. */
interface Name {
  readonly log: MotionLog
  lead(): Release | undefined
}

/** A step that only changes files: nothing loaded need change. */
const UNSEEN = { isSeen: false, isFresh: false }
const SEEN = { isSeen: true, isFresh: false }
const FRESH = { isSeen: true, isFresh: true }

/** A site on disk, and the log of everything that is done to it. */
export class Site {
  readonly layout: Layout
  readonly host: string
  readonly system: System
  readonly names: Name[]
  readonly random: Random
  /** The release that the first name leads to. */
  release: Release
  /** Releases that the first name led to before, the latest last. */
  readonly earlier: Release[] = []
  /** For an aliased site: the release to which `old.` leads by a link of its own. */
  pinned: Release | undefined
  hasAlias = false
  /** The motion under way, for the log. */
  motion = 'start'
  readonly #base: string
  #releases = 0
  #contents = 0
  #isLinked = true

  constructor(base: string, host: string, layout: Layout, system: System, random: Random, rules: Rules) {
    this.#base = base
    this.host = host
    this.layout = layout
    this.system = system
    this.random = random
    this.release = { folder: '', hasApp: false, entry: undefined, lib: undefined }
    const lead = (): Release | undefined => (this.#isLinked ? this.release : undefined)
    this.names = [{ log: new MotionLog(host, host, rules), lead }]
    if (layout !== 'aliased') return
    const alias = `www.${host}`
    const pin = `old.${host}`
    this.names.push(
      { log: new MotionLog(alias, host, rules), lead: () => (this.hasAlias ? lead() : undefined) },
      { log: new MotionLog(pin, host, rules), lead: () => this.pinned },
    )
  }

  get app(): string {
    return join(this.release.folder, 'app')
  }

  get entry(): string {
    return join(this.app, 'index.js')
  }

  get lib(): string {
    return join(this.app, 'lib', 'part.js')
  }

  /** How many folders and places aside have been made for it so far. */
  get builds(): number {
    return this.#releases
  }

  get isLink(): boolean {
    return this.layout !== 'plain'
  }

  /** The link that is flipped. */
  get link(): string {
    if (this.layout === 'current') return join(this.vhostPath, 'current')
    return this.layout === 'chain' ? join(this.#base, 'middle', this.host) : this.vhostPath
  }

  get vhostPath(): string {
    return join(this.#base, 'www', this.host)
  }

  async create(): Promise<void> {
    const release = await this.build()
    if (this.layout === 'chain') await symlink(this.link, this.vhostPath)
    if (this.layout === 'plain') await rename(release.folder, this.vhostPath)
    else await symlink(release.folder, this.link)
    if (this.layout === 'plain') release.folder = this.vhostPath
    this.release = release
    for (const { log, lead } of this.names) log.end(log.begin(look(lead()), 'start', true, false))
    if (this.layout !== 'aliased') return
    await this.addAlias()
    await this.pin(release)
  }

  /** Builds a complete release that no name leads to yet. */
  async build(): Promise<Release> {
    const folder = this.#newFolder()
    const content = this.newContent()
    await this.#makeFolder(folder)
    await this.#makeLib(join(folder, 'app', 'lib'))
    await writeFile(join(folder, 'app', 'lib', 'part.js'), this.libSource(content))
    await writeFile(join(folder, 'app', 'index.js'), this.entrySource(content))
    return { folder, hasApp: true, entry: content, lib: content }
  }

  /** A release that so far is only an empty app folder. */
  async buildEmpty(): Promise<Release> {
    const folder = this.#newFolder()
    await this.#makeFolder(folder)
    await this.#makeLib(join(folder, 'app', 'lib'))
    return { folder, hasApp: true, entry: undefined, lib: undefined }
  }

  /** Makes a release that no name leads to fail to load. */
  async spoil(release: Release, fault: Fault): Promise<void> {
    await writeFile(join(release.folder, 'app', 'index.js'), this.entrySource('', fault))
    release.entry = undefined
  }

  newContent(): string {
    return `${this.#contents++}`
  }

  /** A place where something can be put aside. */
  aside(): string {
    return join(this.#base, 'aside', `${this.host}-${this.#releases++}`)
  }

  // ── What can be done to the release that serves ──

  async touch(time = new Date()): Promise<void> {
    await this.#change({}, FRESH, () => utimes(this.app, time, time))
  }

  async restart(): Promise<void> {
    const folder = join(this.release.folder, 'tmp')
    await mkdir(folder, { recursive: true })
    await this.#change({}, FRESH, () => writeFile(join(folder, 'restart.txt'), this.newContent()))
  }

  /** For actions that make the router load anew although nothing on disk has changed. */
  async renew(act: () => Promise<void>): Promise<void> {
    await this.#change({}, FRESH, act)
    const { log } = this.names[0] as Name
    log.settle(log.current)
  }

  /** Adds or replaces a file that the app does not need. */
  async addOther(name: string): Promise<void> {
    await this.#change({}, SEEN, () => writeFile(join(this.app, name), this.newContent()))
  }

  async removeOther(name: string): Promise<void> {
    await this.#change({}, SEEN, () => rm(join(this.app, name), { force: true }))
  }

  /** Writes the entry as most programs do: it is empty for `pause` milliseconds, or for an instant. */
  async writeEntry(content: string, pause?: () => Promise<void>): Promise<void> {
    const source = this.entrySource(content)
    let file: Awaited<ReturnType<typeof open>> | undefined
    await this.#change({ entry: undefined }, SEEN, async () => {
      file = await open(this.entry, 'w')
    })
    await pause?.()
    await this.#change({ entry: content }, SEEN, async () => {
      await file?.writeFile(source)
    })
    await file?.close()
  }

  /** Writes the entry beside its place and renames it over. */
  async replaceEntry(content: string, fault?: Fault): Promise<void> {
    await writeFile(`${this.entry}~`, this.entrySource(content, fault))
    await this.#change({ entry: fault ? undefined : content }, SEEN, () =>
      rename(`${this.entry}~`, this.entry),
    )
  }

  async writeLib(content: string): Promise<void> {
    await this.#change({ lib: undefined }, UNSEEN, async () => {
      await (await open(this.lib, 'w')).close()
    })
    await this.#change({ lib: content }, UNSEEN, () => writeFile(this.lib, this.libSource(content)))
  }

  async replaceLib(content: string): Promise<void> {
    const part = this.aside()
    await writeFile(part, this.libSource(content))
    await this.#change({ lib: content }, UNSEEN, () => rename(part, this.lib))
  }

  async removeLib(): Promise<void> {
    await this.#change({ lib: undefined }, SEEN, () => unlink(this.lib))
  }

  /** Puts the missing file back, which changes no version: the router finds it by trying again. */
  async healLib(content: string): Promise<void> {
    const part = this.aside()
    await writeFile(part, this.libSource(content))
    await this.#change({ lib: content }, SEEN, () => rename(part, this.lib))
  }

  /** `rm -rf` of the app folder, in the order of names. */
  async removeApp(): Promise<void> {
    await this.#change({ entry: undefined }, SEEN, () => rm(this.entry, { force: true }))
    await this.#change({ lib: undefined }, SEEN, () => rm(join(this.app, 'lib'), { recursive: true }))
    for (const name of await readdir(this.app)) await rm(join(this.app, name))
    await this.#change({ hasApp: false }, SEEN, () => rmdir(this.app))
  }

  async makeApp(): Promise<void> {
    await this.#makeFolder(this.release.folder)
    await this.#change({ hasApp: true }, SEEN, () => mkdir(this.app))
    await this.#makeLib(join(this.app, 'lib'))
  }

  /** Moves the whole folder of the release away at once. */
  async moveReleaseAway(): Promise<void> {
    const place = this.aside()
    await this.#change({ hasApp: false, entry: undefined, lib: undefined }, SEEN, () =>
      rename(this.release.folder, place),
    )
    await rm(place, { recursive: true })
  }

  async moveAppAway(place: string): Promise<void> {
    await this.#change({ hasApp: false }, SEEN, () => rename(this.app, place))
  }

  async moveAppBack(place: string): Promise<void> {
    await this.#change({ hasApp: true }, SEEN, () => rename(place, this.app))
  }

  /** Renames a folder away and a new one into place: the app folder, or that of the whole release. */
  async swap(what: 'app' | 'release'): Promise<void> {
    const next = await this.build()
    const part = what === 'app' ? 'app' : ''
    const place = this.aside()
    await this.#change({ hasApp: false }, SEEN, () => rename(join(this.release.folder, part), place))
    const { hasApp, entry, lib } = next
    await this.#change({ hasApp, entry, lib }, SEEN, () =>
      rename(join(next.folder, part), join(this.release.folder, part)),
    )
    await rm(place, { recursive: true })
    await rm(next.folder, { recursive: true, force: true })
  }

  // ── What can be done to links ──

  /** `ln -s` and `mv -T`. */
  async flip(to: Release): Promise<void> {
    await symlink(to.folder, `${this.link}~`)
    await this.#leadTo(to, () => rename(`${this.link}~`, this.link))
  }

  /** `ln -sfn` */
  async relink(to: Release): Promise<void> {
    await this.unlink()
    await this.#leadTo(to, () => symlink(to.folder, this.link))
  }

  async unlink(): Promise<void> {
    await this.#lead(this.#setLinked(false), () => unlink(this.link))
  }

  /** Leads the link to nowhere. */
  async dangle(): Promise<void> {
    await symlink(join(this.#base, 'nowhere'), `${this.link}~`)
    await this.#lead(this.#setLinked(false), () => rename(`${this.link}~`, this.link))
  }

  /** For a chain: leads the first link to a new second one, which leads to a release. */
  async flipFirst(to: Release): Promise<void> {
    const second = join(this.#base, 'middle', `${this.host}-${this.#releases++}`)
    await symlink(to.folder, second)
    await symlink(second, `${this.vhostPath}~`)
    await this.#leadTo(to, () => rename(`${this.vhostPath}~`, this.vhostPath))
    // Then back to where the next flip is expected, through the same release.
    await symlink(to.folder, `${this.link}~`)
    await rename(`${this.link}~`, this.link)
    await symlink(this.link, `${this.vhostPath}~`)
    await rename(`${this.vhostPath}~`, this.vhostPath)
    await unlink(second)
  }

  async addAlias(): Promise<void> {
    await this.#lead(
      () => {
        this.hasAlias = true
      },
      () => symlink(this.vhostPath, this.#pathOf('www')),
    )
  }

  async removeAlias(): Promise<void> {
    await this.#lead(
      () => {
        this.hasAlias = false
      },
      () => unlink(this.#pathOf('www')),
    )
  }

  async pin(to: Release): Promise<void> {
    const path = this.#pathOf('old')
    await symlink(to.folder, `${path}~`)
    await this.#lead(
      () => {
        this.pinned = to
      },
      () => rename(`${path}~`, path),
    )
  }

  async unpin(): Promise<void> {
    await this.#lead(
      () => {
        this.pinned = undefined
      },
      () => unlink(this.#pathOf('old')),
    )
  }

  /** Deletes releases to which nothing has led for a while. */
  async tidy(): Promise<void> {
    while (this.earlier.length > 4) {
      const oldest = this.earlier.shift() as Release
      const isNeeded = oldest === this.release || oldest === this.pinned || this.earlier.includes(oldest)
      if (!isNeeded) await rm(oldest.folder, { recursive: true })
    }
  }

  entrySource(content: string, fault?: Fault): string {
    if (fault === 'syntax') return 'this is no {'
    if (fault === 'throw') return 'throw new Error("broken")'
    if (fault === 'handler') return this.#isModule ? 'export default 1' : 'module.exports = 1'
    const part = this.system === 'packages' ? './lib/use.js' : './lib/part.js'
    const dependency = fault === 'dependency' ? 'absent' : part
    const [head, tail] = this.#isModule
      ? [`import { lib, libAt } from '${dependency}'`, 'export default answer\nexport { close }']
      : [
          `const { lib, libAt } = require('${dependency}')`,
          'module.exports = answer\nmodule.exports.close = close',
        ]
    return [head, said(this.host, content), HANDLER, tail, ''].join('\n')
  }

  libSource(content: string): string {
    const source = `const lib = '${content}'\nconst libAt = Number(process.hrtime.bigint()) / 1e6\n`
    return source + (this.#isModule ? 'export { lib, libAt }\n' : 'module.exports = { lib, libAt }\n')
  }

  async #makeFolder(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true })
    if (this.#isModule) await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  }

  async #makeLib(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true })
    if (this.system !== 'packages') return
    await mkdir(join(folder, 'node_modules', 'dual'), { recursive: true })
    for (const [file, source] of Object.entries(PACKAGED)) await writeFile(join(folder, file), source)
  }

  get #isModule(): boolean {
    return this.system === 'ES modules'
  }

  #newFolder(): string {
    const number = `${this.#releases++}`
    if (this.layout === 'current') return join(this.vhostPath, 'releases', number)
    return join(this.#base, 'releases', this.host, number)
  }

  #pathOf(prefix: string): string {
    return join(dirname(this.vhostPath), `${prefix}.${this.host}`)
  }

  async #change(parts: Partial<Release>, marks: typeof SEEN, act: () => Promise<void>): Promise<void> {
    await this.#step(marks, () => Object.assign(this.release, parts), act, this.release)
  }

  async #leadTo(to: Release, act: () => Promise<void>): Promise<void> {
    await this.#lead(() => {
      if (this.release !== to) this.earlier.push(this.release)
      this.release = to
      this.#isLinked = true
    }, act)
  }

  #setLinked(isLinked: boolean): () => void {
    return () => {
      this.#isLinked = isLinked
    }
  }

  /** Changes where names lead. */
  async #lead(change: () => void, act: () => Promise<void>): Promise<void> {
    await this.#step(SEEN, change, act)
  }

  /** One system call that changes what names find; logged before and after. */
  async #step(
    { isSeen, isFresh }: typeof SEEN,
    change: () => void,
    act: () => Promise<void>,
    touched?: Release,
  ): Promise<void> {
    const before = this.names.map(({ lead }) => lead())
    change()
    const states = this.names.flatMap(({ log, lead }, index) => {
      const release = lead()
      if (release === before[index] && (!release || release !== touched)) return []
      return [[log, log.begin(look(release), this.motion, isSeen, isFresh)] as const]
    })
    await act()
    for (const [log, state] of states) log.end(state)
  }
}

/**
 * A package with both module systems, and a file that requires it and passes on what is deployed. It is large, so that
 * one that stays in memory shows up.
 */
const PACKAGED = {
  'use.js': `
    if (require('dual').name !== 'dual') throw new Error('no package')
    module.exports = { ...require('./part.js'), ballast: Array.from({ length: 100_000 }, (_, n) => n) }`,
  'node_modules/dual/package.json': JSON.stringify({
    exports: { 'module-sync': './facade.mjs', default: './index.js' },
  }),
  'node_modules/dual/facade.mjs': `import dual from './index.js'\nexport { dual as default, dual as 'module.exports' }\n`,
  'node_modules/dual/index.js': `exports.name = 'dual'\n`,
}

function look(release: Release | undefined): Find {
  if (!release?.hasApp) return { kind: 'absent' }
  const { entry, lib } = release
  return entry === undefined || lib === undefined ? { kind: 'broken' } : { kind: 'good', entry, lib }
}

function said(site: string, content: string): string {
  return `const site = '${site}', entry = '${content}', entryAt = Number(process.hrtime.bigint()) / 1e6`
}

const HANDLER = `if (lib === undefined) throw new Error('lib/ is empty')
let isClosed = false
function close() { isClosed = true }
function answer(req, res) {
  const took = Number(process.hrtime.bigint()) / 1e6
  const wait = Number(req.url.split('?')[1] ?? 0)
  let bytes = 0
  const say = () => JSON.stringify({
    site, vhost: req.vhost.hostname, entry, lib, entryAt, libAt, took, isClosed, bytes
  })
  if (req.url.startsWith('/slow')) return setTimeout(() => res.end(say()), wait)
  if (req.url.startsWith('/stream')) {
    const timer = setInterval(() => res.write('.'), 20)
    res.on('close', () => clearInterval(timer))
    return setTimeout(() => { clearInterval(timer); res.end(say()) }, wait)
  }
  if (req.method !== 'POST') return res.end(say())
  req.on('data', data => { bytes += data.length })
  req.on('end', () => res.end(say()))
}`
