import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { treeVersion, type VhostRouterOptions } from '../../lib/index.ts'
import { eventually, World } from '../support/world.ts'

const run = promisify(execFile)

const INTERVAL = 1000
/** How many files a release has besides those that answer. */
const FILES = 300
const MANY = 2000

/** How a deploy ends: without a `touch`, changes in `lib/` alone are not seen. */
type Finish = 'touch' | 'nothing'

interface Deploy {
  readonly name: string
  /** The program it needs, if that may be missing. */
  readonly program?: string
  readonly finish: Finish
  readonly options?: VhostRouterOptions
  /** How many files there are. @default FILES */
  readonly files?: number
  /** Called once, before the first request. */
  prepare?(site: Site): void
  /** Replaces one release by that of the given version, while requests run. */
  act(site: Site, version: string): Promise<void>
}

const byTree: VhostRouterOptions = { getVersion: treeVersion }

const deploys: Deploy[] = [
  {
    name: 'rsync -a --delete',
    program: 'rsync',
    finish: 'touch',
    act: async ({ live, release }, version) => {
      await run('rsync', ['-a', '--delete', `${release(version)}/`, `${live}/`])
    },
  },
  {
    name: 'what rsync -a --delete does',
    finish: 'touch',
    act: ({ live, release }, version) => rsync(release(version), live),
  },
  {
    name: 'what rsync -a --delete does, seen by treeVersion',
    finish: 'nothing',
    files: 100,
    options: byTree,
    act: ({ live, release }, version) => rsync(release(version), live),
  },
  {
    name: 'git checkout',
    program: 'git',
    finish: 'touch',
    prepare: prepareGit,
    act: gitCheckout,
  },
  {
    name: 'git checkout, seen by treeVersion',
    program: 'git',
    finish: 'nothing',
    files: 100,
    options: byTree,
    prepare: prepareGit,
    act: gitCheckout,
  },
  {
    name: 'what git checkout does',
    finish: 'touch',
    act: async ({ live, release }, version) => {
      for (const file of await filesOf(release(version))) {
        await unlink(join(live, file))
        await copyFile(join(release(version), file), join(live, file))
      }
    },
  },
  {
    name: 'cp -r of 2,000 files',
    files: MANY,
    program: 'cp',
    finish: 'touch',
    act: async ({ live, release }, version) => {
      await run('cp', ['-r', `${release(version)}/.`, live])
    },
  },
  {
    name: 'what cp -r of 2,000 files does',
    files: MANY,
    finish: 'touch',
    act: async ({ live, release }, version) => {
      for (const file of await filesOf(release(version))) {
        await copyFile(join(release(version), file), join(live, file))
      }
    },
  },
]

describe('a deploy file by file', { concurrency: 1 }, () => {
  for (const deploy of deploys) {
    it(`${deploy.name}: fails no request, and leaves nothing mixed`, { timeout: 120_000 }, async t => {
      if (deploy.program && isMissing(deploy.program, t)) return
      await using world = await World.start({ updateInterval: INTERVAL, ...deploy.options })
      const site = new Site(world, deploy.files)
      deploy.prepare?.(site)
      await using client = new Client(world)
      await client.sees('1 1')
      for (const version of ['2', '1']) {
        await deploy.act(site, version)
        if (deploy.finish === 'touch') await site.touch()
        await client.stays(`${version} ${version}`)
      }
      assert.deepEqual(client.failures, [])
    })
  }

  it('cp -r of 2,000 files to where the link already leads: the last good release serves throughout', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ updateInterval: INTERVAL })
    const site = new Site(world, MANY, 'releases/0')
    world.link('aries.test', site.live)
    await using client = new Client(world)
    await client.sees('1 1')
    const next = join(world.base, 'www', 'releases', '1')
    mkdirSync(join(next, 'app'), { recursive: true })
    world.link('aries.test', next)
    await delay(400)
    const files = await filesOf(site.release('2'))
    // The files that produce the answer come last.
    files.sort((a, b) => Number(b.includes('other')) - Number(a.includes('other')))
    for (const file of files) {
      assert.deepEqual(client.last, '1 1')
      await mkdir(dirname(join(next, file)), { recursive: true })
      await copyFile(join(site.release('2'), file), join(next, file))
    }
    await client.stays('2 2')
    assert.deepEqual(client.failures, [])
    assert.deepEqual(client.story, ['1 1', '2 2'])
  })

  it('two files that check each other: a mixture is refused, and never serves', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ updateInterval: INTERVAL })
    const site = new Site(world, 0)
    for (const version of ['1', '2']) site.write(site.release(version), version, STRICT_ENTRY)
    cpSync(site.release('1'), site.live, { recursive: true })
    await using client = new Client(world)
    await client.sees('1 1')
    for (const version of ['2', '1', '2', '1']) {
      await copyFile(join(site.release(version), 'app/index.js'), join(site.live, 'app/index.js'))
      await eventually(() => world.events('error').length > 0)
      world.told.length = 0
      await delay(300)
      await copyFile(join(site.release(version), 'app/lib/part.js'), join(site.live, 'app/lib/part.js'))
      await site.touch()
      await client.stays(`${version} ${version}`)
    }
    assert.deepEqual(client.story, ['1 1', '2 2', '1 1', '2 2', '1 1'])
    assert.deepEqual(client.failures, [])
  })

  it('two files that do not check each other: a mixture is gone when the deploy ends', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ updateInterval: INTERVAL })
    const site = new Site(world, 0)
    await using client = new Client(world)
    await client.sees('1 1')
    for (const version of ['2', '1', '2']) {
      await copyFile(join(site.release(version), 'app/index.js'), join(site.live, 'app/index.js'))
      await delay(300)
      await copyFile(join(site.release(version), 'app/lib/part.js'), join(site.live, 'app/lib/part.js'))
      await site.touch()
      await client.stays(`${version} ${version}`)
    }
    assert.deepEqual(client.failures, [])
  })

  it('npm ci itself, for another version of 20 packages: fails no request', { timeout: 120_000 }, async t => {
    if (isMissing('npm', t)) return
    await using world = await World.start({ updateInterval: INTERVAL })
    const site = new Site(world, 0)
    const lock = ['package.json', 'package-lock.json']
    for (const version of ['1', '2']) await prepareNpm(site, version)
    const deploy = async (version: string): Promise<void> => {
      for (const file of [...lock, 'app/index.js']) {
        await copyFile(join(site.release(version), file), join(site.live, file))
      }
      await npm(site.live, 'ci')
      await site.touch()
    }
    await deploy('1')
    await using client = new Client(world)
    await client.sees('1 1')
    for (const version of ['2', '1']) {
      await deploy(version)
      await client.stays(`${version} ${version}`)
    }
    assert.deepEqual(client.failures, [])
  })

  it('the steps of npm ci: what is loaded serves while the packages are away, and what is loaded then is refused', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ updateInterval: INTERVAL })
    const site = new Site(world, 0)
    const packages = Array.from({ length: 100 }, (_, n) => `package-${n}`)
    site.write(site.live, '1', `require('package-99')\n${ENTRY}`)
    await npmCi(site.live, packages)
    await using client = new Client(world)
    await client.sees('1 1')
    const installing = npmCi(site.live, packages)
    site.write(site.live, '2', `require('package-99')\n${ENTRY}`)
    const isTried = eventually(() => world.vhosts.stats().vhosts[0]?.lastError !== null)
    await site.touch()
    await isTried
    await installing
    await client.stays('2 2')
    assert.deepEqual(client.failures, [])
  })
})

/** A vhost that is being deployed to, with complete releases of it beside. */
class Site {
  readonly live: string
  readonly #world: World

  constructor(world: World, files: number = FILES, folder = 'aries.test') {
    this.#world = world
    this.live = world.path(folder)
    for (const version of ['1', '2']) {
      this.write(this.release(version), version, ENTRY)
      for (let n = 0; n < files; n++) {
        const part = join(this.release(version), 'app', n % 2 ? 'other' : 'lib/other', `${n}.js`)
        mkdirSync(dirname(part), { recursive: true })
        writeFileSync(part, `module.exports = '${version}'\n`)
      }
    }
    // Built at another time, as two releases are: rsync takes files of the same size and second for identical.
    const earlier = new Date(Date.now() - 60_000)
    for (const file of readdirSync(this.release('2'), { recursive: true, encoding: 'utf8' })) {
      utimesSync(join(this.release('2'), file), earlier, earlier)
    }
    cpSync(this.release('1'), this.live, { recursive: true })
  }

  readonly release = (version: string): string => join(this.#world.base, 'built', version)

  write(folder: string, version: string, entry: string): void {
    mkdirSync(join(folder, 'app', 'lib'), { recursive: true })
    // The last files by name are those that a deploy writes last.
    writeFileSync(join(folder, 'app', 'lib', 'part.js'), `module.exports = '${version}'\n`)
    writeFileSync(join(folder, 'app', 'index.js'), `const version = '${version}'\n${entry}`)
  }

  async touch(): Promise<void> {
    const now = new Date()
    await utimes(join(this.live, 'app'), now, now)
  }
}

const ENTRY = `const part = require('./lib/part.js')
module.exports = (req, res) => res.end(version + ' ' + part)
`
const STRICT_ENTRY = `if (require('./lib/part.js') !== version) throw new Error('half of it is another')\n${ENTRY}`

/** Several clients that send requests all the time. */
class Client {
  readonly failures: string[] = []
  /** The answers, without repetitions. */
  readonly story: string[] = []
  readonly #world: World
  readonly #asking: Promise<unknown>
  #isDone = false

  constructor(world: World) {
    this.#world = world
    this.#asking = Promise.all(Array.from({ length: 4 }, () => this.#ask()))
  }

  get last(): string | undefined {
    return this.story.at(-1)
  }

  async sees(answer: string): Promise<void> {
    await eventually(() => assert.equal(this.last, answer))
  }

  /** The right answer comes within two intervals, and no other after it. */
  async stays(answer: string): Promise<void> {
    await eventually(() => assert.equal(this.last, answer), 2 * INTERVAL)
    // A request that had begun before may be answered later.
    await delay(50)
    const { length } = this.story
    await delay(INTERVAL + 200)
    assert.deepEqual(this.story.slice(length - 1), [answer])
  }

  async #ask(): Promise<void> {
    while (!this.#isDone) {
      const { status, body } = await this.#world.get('aries.test')
      if (status !== 200) this.failures.push(`${status} ${body}`)
      else if (this.last !== body) this.story.push(body)
      await delay(3)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDone = true
    await this.#asking
  }
}

function isMissing(program: string, t: TestContext): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    t.skip(`there is no ${program} on this machine`)
    return true
  }
}

/** In the order of names, in which these programs proceed. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)))
    .sort()
}

/**
 * Writes each file beside its target and renames it over, keeping its times. Deletes what no longer exists first; sets
 * the times of folders last.
 */
async function rsync(from: string, to: string): Promise<void> {
  const files = await filesOf(from)
  for (const file of await filesOf(to)) if (!files.includes(file)) await unlink(join(to, file))
  const folders = new Set<string>()
  for (const file of files) {
    const [source, target] = [join(from, file), join(to, file)]
    const part = join(dirname(target), `.${file.replaceAll('/', '-')}.Xa3bQ1`)
    await copyFile(source, part)
    const { atime, mtime } = await stat(source)
    await utimes(part, atime, mtime)
    await rename(part, target)
    folders.add(dirname(file))
  }
  for (const folder of folders) {
    const { atime, mtime } = await stat(join(from, folder))
    await utimes(join(to, folder), atime, mtime)
  }
}

function prepareGit({ live, release }: Site): void {
  const who = ['-c', 'user.name=van', '-c', 'user.email=van@example.com', '-c', 'commit.gpgSign=false']
  const git = (...values: string[]): void => {
    execFileSync('git', [...who, ...values], { cwd: live, env: gitEnvironment() })
  }
  git('init', '--quiet', '--initial-branch', 'release-1')
  git('add', '--all')
  git('commit', '--quiet', '--message', '1')
  git('checkout', '--quiet', '-b', 'release-2')
  cpSync(release('2'), live, { recursive: true })
  git('commit', '--quiet', '--all', '--message', '2')
  git('checkout', '--quiet', 'release-1')
}

async function gitCheckout({ live }: Site, version: string): Promise<void> {
  await run('git', ['checkout', '--quiet', `release-${version}`], { cwd: live, env: gitEnvironment() })
}

/** The environment without what a git hook, from which the specs may run, says of another repository. */
function gitEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_')))
}

/** A release whose answer comes from its packages, and what `npm ci` needs to install them from a folder beside. */
async function prepareNpm({ live, release }: Site, version: string): Promise<void> {
  const packages = join(dirname(release(version)), 'packages', version)
  const names = Array.from({ length: 20 }, (_, n) => `package-${n}`)
  for (const name of names) {
    const folder = join(packages, name)
    await mkdir(folder, { recursive: true })
    await writeFile(
      join(folder, 'package.json'),
      JSON.stringify({ name, version: `${version}.0.0`, main: 'main.js' }),
    )
    await writeFile(join(folder, 'main.js'), `module.exports = '${version}'`)
  }
  const dependencies = Object.fromEntries(names.map(name => [name, `file:${join(packages, name)}`]))
  // The paths in the lock are relative to where it is used.
  await writeFile(
    join(live, 'package.json'),
    JSON.stringify({ name: 'site', version: '1.0.0', dependencies }),
  )
  await npm(live, 'install', '--package-lock-only')
  for (const file of ['package.json', 'package-lock.json'])
    await rename(join(live, file), join(release(version), file))
  const required = names.map(name => `require('${name}')`).join(', ')
  await writeFile(
    join(release(version), 'app/index.js'),
    `const parts = [...new Set([${required}])].join()
    module.exports = (req, res) => res.end('${version} ' + parts)`,
  )
}

async function npm(folder: string, ...values: string[]): Promise<void> {
  const options = ['--offline', '--install-links', '--ignore-scripts', '--no-audit', '--no-fund']
  await run('npm', [...values, ...options], { cwd: folder })
}

/** What `npm ci` does: deletes all packages, and unpacks each into its place. */
async function npmCi(folder: string, packages: readonly string[]): Promise<void> {
  await rm(join(folder, 'node_modules'), { recursive: true, force: true })
  for (const name of packages) {
    const place = join(folder, 'node_modules', name)
    await mkdir(place, { recursive: true })
    await writeFile(join(place, 'package.json'), `{ "name": "${name}", "main": "main.js" }`)
    await delay(2)
    await writeFile(join(place, 'main.js'), '')
  }
}
