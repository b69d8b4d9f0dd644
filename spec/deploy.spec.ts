import assert from 'node:assert/strict'
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from './support/client.ts'
import { eventually, World } from './support/world.ts'

// The manual of deploying: what each motion of a deploy leads to, wherever the vhost lies and however the motion is
// noticed.

/** What a motion leads to. No request fails meanwhile. */
type Outcome =
  /** The release at the same real path is loaded anew. */
  | 'reloads'
  /** Another real path serves. */
  | 'serves the new release'
  /** Nothing is loaded and nothing is evicted. */
  | 'changes nothing'
  /** The app is evicted, and requests fall through. */
  | 'answers 404'

interface Motion {
  readonly name: string
  readonly outcome: Outcome
  readonly on: readonly Layout[]
  /** May return the answer of what is then deployed; otherwise that is `r2` for a new release, `r1` for the same. */
  act(site: Site): unknown
  /** Takes back what led to 404: what serves then has been loaded anew. @default another site is built in its place */
  back?(site: Site): void
  /** A second motion, to show that it is noticed as well as the first. @default a touch of the app folder */
  again?(site: Site): void
  /** Set if no file-system event reports the motion. */
  readonly isUnheard?: true
}

type Layout = keyof typeof LAYOUTS

/** Where the vhost lies. `links` are the symlinks on the way to the release, in order. */
const LAYOUTS = {
  'a plain folder': { vhostDir: '%0', release: 'www/aries.test', links: [] },
  'a link': { vhostDir: '%0', release: 'releases/r1', links: ['www/aries.test'] },
  'current in the vhost': {
    vhostDir: ['%0/current', '%0'],
    release: 'www/aries.test/releases/r1',
    links: ['www/aries.test/current'],
  },
  'a chain of links': {
    vhostDir: '%0',
    release: 'releases/r1',
    links: ['www/aries.test', 'middle/live', 'last/live'],
  },
  'a link in a parent folder': { vhostDir: 'now/%0', release: 'www/r1/aries.test', links: ['www/now'] },
}
const all = Object.keys(LAYOUTS) as Layout[]
const linked = all.filter(name => LAYOUTS[name].links.length > 0)

class Site {
  readonly world: World
  readonly #layout: (typeof LAYOUTS)[Layout]

  constructor(world: World, layout: Layout) {
    this.world = world
    this.#layout = LAYOUTS[layout]
    this.build('r1')
    for (const [index, link] of this.#layout.links.entries()) {
      const next = this.#layout.links[index + 1]
      this.link(this.at(link), next ? this.at(next) : this.target('r1'))
    }
    this.build('virgo', 'virgo', this.neighbour)
  }

  at(...parts: string[]): string {
    return join(this.world.base, ...parts)
  }

  /** The folder of a release; by default of the one that serves at first. */
  release(name = 'r1', ...parts: string[]): string {
    return this.at(this.#layout.release.replace('r1', name), ...parts)
  }

  app(...parts: string[]): string {
    return this.release('r1', 'app', ...parts)
  }

  /** The nth link on the way; by default the last one. */
  linkAt(index = -1): string {
    return this.at(this.#layout.links.at(index) as string)
  }

  /** What the last link leads to. */
  target(name: string): string {
    const release = this.release(name)
    return this.#isParentLinked ? dirname(release) : release
  }

  get #isParentLinked(): boolean {
    return this.#layout.vhostDir === 'now/%0'
  }

  /** The path that leads to the release through what was the last link. */
  get served(): string {
    return this.#isParentLinked ? join(this.linkAt(), 'aries.test') : this.linkAt()
  }

  get vhostPath(): string {
    return this.at('www', this.#isParentLinked ? 'now' : '', 'aries.test')
  }

  /** A neighbour in the same folder, which the deploy does not concern. */
  get neighbour(): string {
    return join(dirname(this.vhostPath), 'virgo.test')
  }

  /** Writes a release that answers with a text. */
  build(name: string, answer = name, folder = this.release(name)): void {
    write(join(folder, 'app', 'lib', 'answer.js'), `module.exports = ${JSON.stringify(answer)}`)
    write(join(folder, 'app', 'readme.txt'), 'about')
    write(join(folder, 'app', 'index.js'), ENTRY)
  }

  /** `ln -s` and `mv -T`: there is a link at every moment. */
  link(link: string, target: string): void {
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(target, `${link}.new`)
    renameSync(`${link}.new`, link)
  }

  /** Builds a release and leads the last link to it. */
  flip(name: string): void {
    this.build(name)
    this.link(this.linkAt(), this.target(name))
  }

  /** Puts a site where nothing is left. */
  rebuild(answer: string): void {
    for (const link of this.#layout.links) rmSync(this.at(link), { force: true })
    this.build(answer, answer, this.at('built'))
    rmSync(join(this.vhostPath, 'app'), { recursive: true, force: true })
    mkdirSync(this.vhostPath, { recursive: true })
    renameSync(this.at('built', 'app'), join(this.vhostPath, 'app'))
  }
}

const ENTRY = `const answer = require('./lib/answer.js')
module.exports = (req, res) => res.end(answer)
`

function write(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}

function touch(path: string, time = new Date()): void {
  utimesSync(path, time, time)
}

/** Writes beside the file and renames over it, as rsync and most editors do. */
function replaceFile(file: string, content: string): void {
  writeFileSync(`${file}.part`, content)
  renameSync(`${file}.part`, file)
}

const entryThatAnswers = (answer: string): string =>
  `module.exports = (req, res) => res.end(${JSON.stringify(answer)})\n`

/** Gives every file and folder of a release the same modification time. */
function setTimes(folder: string, time: Date): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    touch(join(folder, name), time)
  touch(folder, time)
}

const CENTURY = new Date('2000-01-01T00:00:00Z')

const motions: Motion[] = [
  // ── In place ──
  { name: 'touch the app folder', outcome: 'reloads', on: all, act: site => touch(site.app()) },
  {
    name: 'touch the app folder to an older time',
    outcome: 'reloads',
    on: all,
    act: site => touch(site.app(), CENTURY),
  },
  {
    name: 'add a file to the app folder',
    outcome: 'reloads',
    on: all,
    act: site => write(site.app('more.js'), ''),
    again: site => write(site.app('still-more.js'), ''),
  },
  {
    name: 'delete a file of the app folder',
    outcome: 'reloads',
    on: all,
    act: site => unlinkSync(site.app('readme.txt')),
  },
  {
    name: 'replace a file of the app folder by renaming',
    outcome: 'reloads',
    on: all,
    act: site => replaceFile(site.app('readme.txt'), 'about it'),
    again: site => replaceFile(site.app('readme.txt'), 'about it all'),
  },
  {
    name: 'rsync -a: replace the entry, put the time of the folder back',
    outcome: 'reloads',
    on: all,
    act: site => {
      const { mtime } = statSync(site.app())
      replaceFile(site.app('index.js'), entryThatAnswers('mended'))
      touch(site.app(), mtime)
      return 'mended'
    },
  },
  {
    name: 'edit the entry in place',
    outcome: 'reloads',
    on: all,
    act: site => {
      writeFileSync(site.app('index.js'), entryThatAnswers('edited'))
      return 'edited'
    },
    again: site => writeFileSync(site.app('index.js'), entryThatAnswers('edited again')),
  },
  {
    name: 'edit package.json of the release in place',
    outcome: 'reloads',
    on: all,
    act: site => writeFileSync(site.release('r1', 'package.json'), '{}'),
    again: site => writeFileSync(site.release('r1', 'package.json'), '{ "version": "2.0.0" }'),
  },
  {
    name: 'edit package.json of the app folder in place',
    outcome: 'reloads',
    on: all,
    act: site => writeFileSync(site.app('package.json'), '{}'),
    again: site => writeFileSync(site.app('package.json'), '{ "version": "2.0.0" }'),
  },
  {
    name: 'touch tmp/restart.txt, where there was no tmp',
    outcome: 'reloads',
    on: all,
    act: site => write(site.release('r1', 'tmp', 'restart.txt'), ''),
    again: site => touch(site.release('r1', 'tmp', 'restart.txt')),
  },
  {
    name: 'edit a file in lib/',
    outcome: 'changes nothing',
    on: all,
    act: site => {
      writeFileSync(site.app('lib', 'answer.js'), 'module.exports = "edited"')
      return 'edited'
    },
  },
  {
    name: 'replace a file in lib/ by renaming',
    outcome: 'changes nothing',
    on: all,
    act: site => {
      replaceFile(site.app('lib', 'answer.js'), 'module.exports = "replaced"')
      return 'replaced'
    },
  },
  {
    name: 'add a file to lib/',
    outcome: 'changes nothing',
    on: all,
    act: site => write(site.app('lib', 'more.js'), ''),
  },
  {
    name: 'edit a file of the app folder in place that is not the entry',
    outcome: 'changes nothing',
    on: all,
    act: site => writeFileSync(site.app('readme.txt'), 'about it'),
  },
  {
    name: 'touch the folder of the release, or write another file into it',
    outcome: 'changes nothing',
    on: all,
    act: site => {
      touch(site.release())
      write(site.release('r1', 'notes.txt'), '')
    },
  },
  {
    name: 'write other files into tmp/',
    outcome: 'changes nothing',
    on: all,
    act: site => write(site.release('r1', 'tmp', 'cache.txt'), ''),
  },
  {
    name: 'change the mode of the app folder',
    outcome: 'reloads',
    on: all,
    act: site => chmodSync(site.app(), 0o750),
    again: site => chmodSync(site.app(), 0o755),
  },

  // ── A folder in the place of another ──
  {
    name: 'rename the app folder away and a new one in',
    outcome: 'reloads',
    on: all,
    act: site => {
      site.build('new', 'renewed', site.at('new'))
      renameSync(site.app(), site.at('old'))
      renameSync(site.at('new', 'app'), site.app())
      return 'renewed'
    },
  },
  {
    name: 'rename the release away and a new one in',
    outcome: 'reloads',
    on: all,
    act: site => {
      site.build('new', 'renewed', site.at('new'))
      renameSync(site.release(), site.at('old'))
      renameSync(site.at('new'), site.release())
      return 'renewed'
    },
  },
  {
    name: 'rename the release away and a new one in, of the same times',
    outcome: 'reloads',
    on: all,
    act: site => {
      site.build('new', 'renewed', site.at('new'))
      setTimes(site.at('new'), CENTURY)
      setTimes(site.release(), CENTURY)
      renameSync(site.release(), site.at('old'))
      renameSync(site.at('new'), site.release())
      return 'renewed'
    },
  },
  {
    name: 'rm -rf the release and build it anew at once',
    outcome: 'reloads',
    on: all,
    act: site => {
      rmSync(site.release(), { recursive: true })
      site.build('r1', 'rebuilt')
      return 'rebuilt'
    },
  },
  {
    name: 'rm -rf the app folder and build it anew at once',
    outcome: 'reloads',
    on: all,
    act: site => {
      rmSync(site.app(), { recursive: true })
      site.build('r1', 'rebuilt')
      return 'rebuilt'
    },
  },
  {
    name: 'take the app folder away for 100 ms',
    outcome: 'reloads',
    on: all,
    act: async site => {
      renameSync(site.app(), site.at('away'))
      await delay(100)
      renameSync(site.at('away'), site.app())
    },
  },

  // ── Links ──
  {
    name: 'ln -s and mv -T: flip the link at once',
    outcome: 'serves the new release',
    on: linked,
    act: site => site.flip('r2'),
    again: site => site.flip('r3'),
  },
  {
    name: 'ln -sfn: delete the link and make it anew',
    outcome: 'serves the new release',
    on: linked,
    act: site => {
      site.build('r2')
      unlinkSync(site.linkAt())
      symlinkSync(site.target('r2'), site.linkAt())
    },
    again: site => site.flip('r3'),
  },
  {
    name: 'roll back to a release of an older time',
    outcome: 'serves the new release',
    on: linked,
    act: site => {
      site.build('r2')
      setTimes(site.release('r2'), CENTURY)
      site.link(site.linkAt(), site.target('r2'))
    },
  },
  {
    name: 'flip the link to a release of the same times',
    outcome: 'serves the new release',
    on: linked,
    act: site => {
      site.build('r2')
      setTimes(site.release('r2'), CENTURY)
      setTimes(site.release('r1'), CENTURY)
      site.link(site.linkAt(), site.target('r2'))
    },
  },
  {
    name: 'flip the first link of a chain',
    outcome: 'serves the new release',
    on: ['a chain of links'],
    act: site => {
      site.build('r2')
      site.link(site.linkAt(0), site.release('r2'))
    },
  },
  {
    name: 'flip the link in the middle of a chain',
    outcome: 'serves the new release',
    on: ['a chain of links'],
    act: site => {
      site.build('r2')
      site.link(site.linkAt(1), site.release('r2'))
    },
  },
  {
    name: 'flip the link to r2, and to r3 20 ms later',
    outcome: 'serves the new release',
    on: linked,
    act: async site => {
      site.flip('r2')
      await delay(20)
      site.flip('r3')
      return 'r3'
    },
    again: site => site.flip('r4'),
  },
  {
    name: 'flip the link to r2 and back within 10 ms',
    outcome: 'changes nothing',
    on: linked,
    act: site => {
      site.build('r2')
      site.link(site.linkAt(), site.target('r2'))
      site.link(site.linkAt(), site.target('r1'))
    },
    again: site => site.flip('r3'),
  },
  {
    name: 'flip the link twenty times at once, the last time to r20',
    outcome: 'serves the new release',
    on: linked,
    act: site => {
      for (let n = 1; n <= 20; n++) site.flip(`r${n}`)
      return 'r20'
    },
    again: site => site.flip('r21'),
  },
  {
    name: 'touch -h the link',
    outcome: 'changes nothing',
    on: linked,
    act: site => lutimesSync(site.linkAt(), new Date(), new Date()),
  },
  {
    name: 'put a folder in the place of the link',
    outcome: 'serves the new release',
    on: linked,
    act: site => {
      site.build('r2')
      unlinkSync(site.linkAt())
      renameSync(site.target('r2'), site.linkAt())
    },
    // Folders above the release are watched if there are links, but this is now a plain folder.
    again: site => touch(join(site.served, 'app')),
  },
  {
    name: 'put a link in the place of the folder',
    outcome: 'serves the new release',
    on: ['a plain folder'],
    act: site => {
      site.build('r2', 'r2', site.at('releases', 'r2'))
      renameSync(site.release(), site.at('old'))
      symlinkSync(site.at('releases', 'r2'), site.release())
    },
    again: site => touch(site.at('releases', 'r2', 'app')),
  },
  {
    name: 'make the app folder a link into the release, and flip it',
    outcome: 'reloads',
    on: all,
    act: site => {
      for (const build of ['b1', 'b2']) {
        site.build('r1', build, site.release('r1', build))
      }
      renameSync(site.app(), site.at('old'))
      symlinkSync('b1/app', site.app())
      return 'b1'
    },
    again: site => site.link(site.app(), 'b2/app'),
  },

  // ── Gone ──
  {
    name: 'rm -rf the vhost',
    outcome: 'answers 404',
    on: ['a plain folder', 'current in the vhost'],
    act: site => rmSync(site.at('www', 'aries.test'), { recursive: true }),
  },
  {
    name: 'rename the vhost away',
    outcome: 'answers 404',
    on: ['a plain folder', 'current in the vhost'],
    act: site => renameSync(site.at('www', 'aries.test'), site.at('old')),
    back: site => renameSync(site.at('old'), site.at('www', 'aries.test')),
  },
  { name: 'rm the link', outcome: 'answers 404', on: linked, act: site => unlinkSync(site.linkAt()) },
  {
    name: 'lead the link to nowhere',
    outcome: 'answers 404',
    on: linked,
    act: site => site.link(site.linkAt(), site.at('nowhere')),
    back: site => site.link(site.linkAt(), site.target('r1')),
  },
  {
    name: 'lead the link to itself',
    outcome: 'answers 404',
    on: linked,
    act: site => site.link(site.linkAt(), site.linkAt()),
  },
  {
    name: 'rm -rf what the link leads to',
    outcome: 'answers 404',
    on: linked,
    act: site => rmSync(site.release(), { recursive: true }),
  },
  {
    name: 'rename what the link leads to',
    outcome: 'answers 404',
    on: linked,
    act: site => renameSync(site.release(), site.at('old')),
    back: site => renameSync(site.at('old'), site.release()),
  },
  {
    name: 'rename the app folder away',
    outcome: 'answers 404',
    on: all,
    act: site => renameSync(site.app(), site.at('old')),
    back: site => renameSync(site.at('old'), site.app()),
  },
  {
    name: 'rm -rf the app folder',
    outcome: 'answers 404',
    on: all,
    act: site => rmSync(site.app(), { recursive: true }),
  },
  {
    name: 'rename the folder of all releases away',
    outcome: 'answers 404',
    on: ['current in the vhost'],
    act: site => renameSync(site.at('www/aries.test/releases'), site.at('old')),
    back: site => renameSync(site.at('old'), site.at('www/aries.test/releases')),
  },
  {
    name: 'rename a folder above what the link leads to',
    outcome: 'answers 404',
    on: ['a link', 'a chain of links'],
    act: site => renameSync(site.at('releases'), site.at('old')),
    back: site => renameSync(site.at('old'), site.at('releases')),
    isUnheard: true,
  },
  {
    name: 'rename the folder above the release that a link leads to',
    outcome: 'answers 404',
    on: ['a link in a parent folder'],
    act: site => renameSync(site.target('r1'), site.at('old')),
    back: site => renameSync(site.at('old'), site.target('r1')),
  },

  // ── Faults ──
  {
    name: 'rename the base path away for a while',
    outcome: 'changes nothing',
    on: all,
    act: async site => {
      renameSync(site.at('www'), site.at('elsewhere'))
      await delay(600)
      renameSync(site.at('elsewhere'), site.at('www'))
    },
    isUnheard: true,
  },
  {
    name: 'deploy what does not load, then what does',
    outcome: 'serves the new release',
    on: linked,
    act: async site => {
      site.build('r2')
      write(site.release('r2', 'app', 'index.js'), 'throw new Error("broken")')
      site.link(site.linkAt(), site.target('r2'))
      await eventually(() => site.world.events('error').length > 0)
      writeFileSync(site.release('r2', 'app', 'index.js'), ENTRY)
    },
    again: site => touch(site.release('r2', 'app')),
  },
  {
    name: 'break the release in place, then mend it',
    outcome: 'reloads',
    on: all,
    act: async site => {
      replaceFile(site.app('index.js'), 'module.exports = {')
      await eventually(() => site.world.events('error').length > 0)
      replaceFile(site.app('index.js'), entryThatAnswers('mended'))
      return 'mended'
    },
  },
  {
    name: 'rm -rf and build what does not load, then mend it',
    outcome: 'reloads',
    on: all,
    act: async site => {
      rmSync(site.release(), { recursive: true })
      site.build('r1', 'rebuilt')
      write(site.app('index.js'), 'throw new Error("broken")')
      await eventually(() => site.world.events('error').length > 0)
      writeFileSync(site.app('index.js'), entryThatAnswers('mended'))
      return 'mended'
    },
  },
]

/** How a motion is noticed. */
const WAYS = {
  'by events alone': { updateInterval: 60_000, watch: true },
  'by looking alone': { updateInterval: 50, watch: false },
  'by both': { updateInterval: 50, watch: true },
}

describe('deploying', { concurrency: 8 }, () => {
  for (const motion of motions) {
    describe(`${motion.name}: ${motion.outcome}`, { concurrency: 1 }, () => {
      for (const layout of motion.on) {
        for (const [way, settings] of Object.entries(WAYS)) {
          if (motion.isUnheard && way === 'by events alone') continue
          // If each way works alone, two layouts are enough to show both together.
          if (way === 'by both' && !motion.isUnheard && layout !== motion.on[0]) continue
          it(`${layout}, seen ${way}`, { timeout: 90_000 }, () => deploy(motion, layout, settings))
        }
      }
    })
  }
})

interface Way {
  readonly updateInterval: number
  readonly watch: boolean
}

async function deploy(motion: Motion, layout: Layout, way: Way): Promise<void> {
  await using world = await World.start({ ...way, vhostDir: LAYOUTS[layout].vhostDir })
  const site = new Site(world, layout)
  await using client = new Client(world)
  await client.sees('r1')
  await OUTCOMES[motion.outcome](motion, site, client)
}

const OUTCOMES: Record<Outcome, (motion: Motion, site: Site, client: Client) => Promise<void>> = {
  reloads: (motion, site, client) => serves('r1', motion, site, client),

  'serves the new release': (motion, site, client) => serves('r2', motion, site, client),

  'changes nothing': async (motion, site, client) => {
    const { world } = site
    assert.equal(await world.body('virgo.test'), 'virgo')
    const answer = String((await motion.act(site)) ?? 'r1')
    // Later changes are noticed later.
    touch(join(site.neighbour, 'app'))
    await eventually(() => world.events('reload').length > 0)
    assert.deepEqual(world.events('reload').map(namesOf), ['virgo.test'])
    await again(motion, site)
    if (!motion.again) await client.sees(answer)
    assert.deepEqual(world.events('reload').map(namesOf), ['virgo.test', 'aries.test'])
    assert.equal(client.hasFailed, false, client.story.join())
  },

  'answers 404': async (motion, site, client) => {
    const { world } = site
    await motion.act(site)
    await client.sees('404')
    await eventually(() => world.events('evict').length > 0)
    assert.deepEqual(
      world.events('evict').map(({ reason }) => reason),
      ['deleted'],
    )
    assert.deepEqual(world.vhosts.stats().vhosts, [])
    if (motion.back) motion.back(site)
    else site.rebuild('rebuilt')
    const answer = motion.back ? 'r1' : 'rebuilt'
    await client.sees(answer)
    assert.deepEqual(client.story, ['r1', '404', answer])
    touch(join(String((await world.vhosts.why('aries.test')).realPath), 'app'))
    await eventually(() => world.events('reload').length === 1)
  },
}

async function serves(usual: string, motion: Motion, site: Site, client: Client): Promise<void> {
  const { world } = site
  const answer = String((await motion.act(site)) ?? usual)
  await client.sees(answer)
  await eventually(() => world.events('reload').length > 0)
  await upToDate(world)
  assert.equal(client.hasFailed, false, client.story.join())
  assert.equal(
    new Set(client.story).size,
    client.story.length,
    `once replaced, never seen again: ${client.story}`,
  )
  await again(motion, site)
  assert.equal(client.hasFailed, false, client.story.join())
}

async function again(motion: Motion, site: Site): Promise<void> {
  const { world } = site
  const reloads = world.events('reload').length
  const { realPath } = await world.vhosts.why('aries.test')
  if (motion.again) motion.again(site)
  else touch(join(String(realPath), 'app'))
  await eventually(() => world.events('reload').length > reloads)
  await upToDate(world)
}

/** Waits until what is on disk serves, and nothing else does. */
async function upToDate(world: World): Promise<void> {
  await eventually(async () => {
    const { realPath, version } = await world.vhosts.why('aries.test')
    const { vhosts } = world.vhosts.stats()
    const own = vhosts.filter(({ hostnames }) => !hostnames.includes('virgo.test'))
    return own.length === 1 && own[0]?.realPath === realPath && own[0]?.version === version
  })
}

function namesOf({ hostnames }: { hostnames: readonly string[] }): string {
  return hostnames.join(' ')
}
