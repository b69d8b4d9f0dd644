import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Isolation, VhostStats } from '../../lib/index.ts'
import type { ProcessState } from '../support/process-state.ts'
import { Client } from './client.ts'
import { clock } from './clock.ts'
import type { Answer, MotionLog, Rules, State, Violation } from './motion-log.ts'
import { type Hands, type Motion, motions } from './motions.ts'
import { Random } from './random.ts'
import { ServingProcess } from './serving-process.ts'
import { type Layout, Site, type System } from './site.ts'

export interface SoakOptions {
  readonly seed: number
  readonly milliseconds: number
  /** A deploy must be live within this many milliseconds. */
  readonly bound: number
  readonly watch: boolean
  readonly isolation: Isolation
  /** Called with the progress now and then. */
  readonly tell?: (text: string) => void
}

export interface SoakReport {
  requests: number
  /** Counts by kind of request. */
  readonly kinds: Record<string, number>
  readonly statuses: Record<string, number>
  readonly motions: Record<string, { count: number; longest: number }>
  /** Milliseconds from the end of a motion to the first answer of what it deployed, in ascending order. */
  latencies: number[]
  /** The share of the time during which the server was able to work, on a machine that may do other things. */
  serverShare: number
  /** Answers from two files that were never on disk together, or not for long. */
  mixed: number
  readonly violations: Violation[]
  /** The states of the serving process: before the motions, after them, after `close()`. */
  readonly states: (ProcessState & { heap: number })[]
  stats: VhostStats | undefined
  complaints: string
}

const CLIENTS = 32
/** How many sites of each layout; an aliased one has three names: fifty in all. */
const SITES: Record<Layout, number> = { plain: 15, link: 11, current: 7, chain: 5, aliased: 4 }
/** Of this many sites, one is made of ES modules, which Node keeps for ever, and one has packages. */
const SYSTEMS_EVERY = 6
/** Milliseconds between two checks that the server is able to work, and the most that one check counts. */
const BEAT = 10
const MOST_BEAT = 20
/** In milliseconds: how long an answer takes at most by itself. */
const MOST_SLOW = 2000
/**
 * What may remain, in MB: per ES module graph that Node keeps, per folder that had packages, and for everything else.
 */
const MOST_GRAPH = 0.05
const MOST_PACKAGED = 0.02
const MOST_GROWTH = 15
/** Watched folders per name: of the app, of the release, and of each link on the way. */
const MOST_WATCHES = 5
/** Pipes of an isolated app, and idle connections to it. */
const MOST_DESCRIPTORS = 4
/** The soak stops here: more violations would tell nothing new. */
const MAX_VIOLATIONS = 10

/** Deploys at random under random requests, and judges each answer by the log of what was deployed. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'express-van-soak-')))
  try {
    for (const folder of ['www', 'middle', 'aside']) await mkdir(join(base, folder))
    // The meaning of `.js` must not depend on where the machine keeps temporary files.
    await writeFile(join(base, 'package.json'), '{}')
    await using server = await ServingProcess.start(join(base, 'www'), options)
    const run = new Soak(base, server, options)
    await run.run()
    await server[Symbol.asyncDispose]()
    run.report.complaints = await server.complaints
    return run.report
  } finally {
    await rm(base, { recursive: true, force: true })
  }
}

class Soak {
  readonly report: SoakReport = {
    requests: 0,
    kinds: {},
    statuses: {},
    motions: {},
    latencies: [],
    serverShare: 0,
    mixed: 0,
    violations: [],
    states: [],
    stats: undefined,
    complaints: '',
  }
  readonly #options: SoakOptions
  readonly #server: ServingProcess
  readonly #sites: Site[]
  readonly #logs: MotionLog[]
  #isOver = false
  #isAtRest = false
  #serverTime = 0

  constructor(base: string, server: ServingProcess, options: SoakOptions) {
    this.#options = options
    this.#server = server
    const rules: Rules = { bound: options.bound, serverTime: () => this.#serverTime }
    const layouts = Object.entries(SITES) as [Layout, number][]
    this.#sites = layouts
      .flatMap(([layout, count]) => Array.from({ length: count }, (_, n) => [layout, n] as const))
      .map(([layout, n], index) => {
        const host = `${layout}-${n}.test`
        const random = new Random(`${options.seed} ${host}`)
        return new Site(base, host, layout, systemOf(index), random, rules)
      })
    this.#logs = this.#sites.flatMap(({ names }) => names.map(({ log }) => log))
  }

  async run(): Promise<void> {
    const { report } = this
    for (const site of this.#sites) {
      await mkdir(site.vhostPath, { recursive: true })
      if (site.layout !== 'plain' && site.layout !== 'current') await rm(site.vhostPath, { recursive: true })
      if (site.layout === 'plain') await rm(site.vhostPath, { recursive: true })
      await site.create()
    }
    const clients = Array.from({ length: CLIENTS }, () => new Client(this.#server.port))
    for (const log of this.#logs) await this.#ask(clients[0] as Client, log)
    report.states.push(await this.#server.ask('state'))

    const start = clock()
    const beating = this.#beat()
    const end = start + this.#options.milliseconds
    const deploying = this.#sites.map(site => this.#deploy(site))
    const asking = clients.map((client, n) => this.#request(client, new Random(`${this.#options.seed} ${n}`)))
    const telling = this.#tell(end)
    while (clock() < end && !this.#isOver) await delay(50)
    this.#isOver = true
    await Promise.all([...deploying, telling])
    await Promise.all(asking)

    await this.#quiesce(clients)
    this.#isAtRest = true
    await beating
    report.serverShare = this.#serverTime / (clock() - start)
    for (const client of clients) client.close()
    report.states.push(await this.#server.ask('state'))
    await this.#server.ask('close')
    report.states.push(await this.#server.ask('state'))
    this.#findLeaks()
    report.mixed = this.#logs.reduce((sum, { mixed }) => sum + mixed, 0)
    report.latencies.sort((a, b) => a - b)
  }

  /** Measures how long the server was able to work: each check begins when the one before has been answered. */
  async #beat(): Promise<void> {
    for (let last = clock(); !this.#isAtRest; ) {
      await delay(BEAT)
      await this.#server.ask('beat')
      const now = clock()
      this.#serverTime += Math.min(now - last, MOST_BEAT)
      last = now
    }
  }

  async #deploy(site: Site): Promise<void> {
    const client = new Client(this.#server.port)
    const possible = motions.filter(({ on }) => on.includes(site.layout))
    const hands: Hands = {
      live: async () => {
        await this.#live(site, client)
      },
      pause: async most => {
        await delay(site.random.between(0, most))
      },
      reload: () => this.#reload(site),
    }
    while (!this.#isOver) {
      const motion = site.random.pick(possible)
      const isWaitedFor = site.random.chance(0.8)
      const pause = isWaitedFor ? site.random.between(0, 2500) : site.random.between(0, 60)
      const start = clock()
      await this.#move(site, motion, hands)
      if (isWaitedFor) await this.#measure(site, motion, start, client)
      await site.tidy()
      for (const wake = clock() + pause; clock() < wake && !this.#isOver; ) {
        await delay(Math.min(50, wake - clock()))
      }
    }
    await this.#live(site, client)
    client.close()
  }

  async #move(site: Site, motion: Motion, hands: Hands): Promise<void> {
    site.motion = motion.name
    const done = this.report.motions[motion.name] ?? { count: 0, longest: 0 }
    this.report.motions[motion.name] = done
    done.count++
    await motion.act(site, hands)
  }

  async #measure(site: Site, motion: Motion, start: number, client: Client): Promise<void> {
    const latency = await this.#live(site, client, start)
    this.report.latencies.push(latency)
    const done = this.report.motions[motion.name]
    if (done) done.longest = Math.max(done.longest, latency)
  }

  /**
   * Asks until every name is answered from what is on disk. Resolves to how long that took since it was put there, for
   * names to which something was done since `start`.
   */
  async #live(site: Site, client: Client, start = 0): Promise<number> {
    const latencies = site.names.map(async ({ log }) => {
      const state = log.current
      const latency = await this.#liveName(log, state, client)
      return state.from >= start ? latency : 0
    })
    return Math.max(...(await Promise.all(latencies)))
  }

  async #liveName(log: MotionLog, state: State, client: Client): Promise<number> {
    for (;;) {
      const answer = await this.#ask(client, log)
      if (log.shows(answer, state)) return Math.max(0, (answer.about?.took ?? answer.end) - state.done)
      if (log.isLate(state)) {
        this.#violated(log, 'what was deployed is not live in time', answer)
        return clock() - state.done
      }
      await delay(4)
    }
  }

  async #reload(site: Site): Promise<void> {
    await site.renew(async () => {
      try {
        const isLoaded = await this.#server.ask('reload', site.host)
        if (!isLoaded) this.#violated(logOf(site), 'reload() found nothing', undefined)
      } catch (error) {
        this.#violated(logOf(site), `reload() failed: ${error}`, undefined)
      }
    })
  }

  async #request(client: Client, random: Random): Promise<void> {
    while (!this.#isOver) {
      const log = random.pick(this.#logs)
      const [path, how] = requestOf(random)
      await this.#ask(client, log, path, how)
      await delay(random.between(0, 30))
    }
  }

  async #ask(client: Client, log: MotionLog, path = '/', how: { abortAfter?: number } = {}): Promise<Answer> {
    const { report } = this
    const answer = await client.ask(log, path, how)
    report.requests++
    const kind = 'abortAfter' in how ? 'aborted' : 'body' in how ? 'upload' : (path.split('?')[0] as string)
    report.kinds[kind] = (report.kinds[kind] ?? 0) + 1
    if (how.abortAfter !== undefined && answer.status === 0) return answer
    report.statuses[answer.status] = (report.statuses[answer.status] ?? 0) + 1
    const rule = log.judge(answer)
    if (rule) this.#violated(log, rule, answer)
    return answer
  }

  /** Waits until only what is on disk serves, and nothing drains or is in flight. */
  async #quiesce(clients: Client[]): Promise<void> {
    for (const site of this.#sites) await this.#live(site, clients[0] as Client)
    const limit = this.#serverTime + this.#options.bound + MOST_SLOW
    let unrest = await this.#unrest()
    while (unrest && this.#serverTime < limit) {
      await delay(50)
      unrest = await this.#unrest()
    }
    if (unrest) this.#violated(unrest.log, `it does not come to rest: ${unrest.text}`, undefined)
  }

  async #unrest(): Promise<{ log: MotionLog; text: string } | undefined> {
    const stats = await this.#server.ask('stats')
    this.report.stats = stats
    const { draining, inFlight } = stats.totals
    const [log] = this.#logs as [MotionLog]
    if (draining > 0 || inFlight > 0) return { log, text: `${draining} drain, ${inFlight} in flight` }
    const releases = new Set(this.#sites.flatMap(({ names }) => names.map(({ lead }) => lead()?.folder)))
    const odd = stats.vhosts.find(({ state, realPath }) => state !== 'serving' || !releases.has(realPath))
    if (!odd) return undefined
    const site = this.#sites.find(({ host }) => odd.realPath.split(sep).includes(host)) as Site
    return { log: logOf(site), text: `all names lead to apps that work, but there is ${JSON.stringify(odd)}` }
  }

  #findLeaks(): void {
    const [before, after, closed] = this.report.states as [State, State, State]
    type State = SoakReport['states'][number]
    const names = this.#logs.length
    const packaged = this.#sites.filter(({ system }) => system === 'packages')
    const folders = packaged.reduce((sum, { builds }) => sum + builds, 0)
    const kept = (this.report.stats?.staleGraphs ?? 0) * MOST_GRAPH + folders * MOST_PACKAGED
    const grown = after.heap - before.heap - kept
    // There are more isolated apps by then, as an alias keeps a release of its own, and each app has some descriptors.
    const mostDescriptors =
      before.descriptors + 10 + (this.#options.isolation === 'none' ? 0 : names * MOST_DESCRIPTORS)
    const leaks = {
      'MB of heap': grown > MOST_GROWTH && grown,
      watches: after.watches > MOST_WATCHES * names && after.watches,
      'descriptors more': after.descriptors > mostDescriptors && after.descriptors - before.descriptors,
      'listeners on process more': after.listeners > before.listeners && after.listeners - before.listeners,
      'watches after close()': closed.watches,
    }
    for (const [what, count] of Object.entries(leaks)) {
      if (count) this.#violated(this.#logs[0] as MotionLog, `it leaks: ${count} ${what}`, undefined)
    }
  }

  #violated(log: MotionLog, rule: string, answer: Answer | undefined): void {
    const { violations } = this.report
    if (violations.length >= MAX_VIOLATIONS) return
    const known = violations.filter(({ name }) => name === log.name)
    if (known.some(violation => violation.rule === rule)) return
    violations.push({ name: log.name, rule, answer, log: log.tell() })
    this.#options.tell?.(`${log.name}: ${rule}`)
    if (violations.length === MAX_VIOLATIONS) this.#isOver = true
  }

  async #tell(end: number): Promise<void> {
    for (let next = clock() + 10_000; !this.#isOver; ) {
      await delay(100)
      if (clock() < next) continue
      next += 10_000
      const { requests, violations, latencies } = this.report
      const left = Math.round((end - clock()) / 1000)
      this.#options.tell?.(
        `${requests} requests, ${latencies.length} deploys measured, ${violations.length} violations; ${left} s to go`,
      )
    }
  }
}

function systemOf(index: number): System {
  if (index % SYSTEMS_EVERY === 1) return 'packages'
  return index % SYSTEMS_EVERY === 3 ? 'ES modules' : 'CommonJS'
}

function logOf(site: Site): MotionLog {
  return (site.names[0] as Site['names'][number]).log
}

function requestOf(random: Random): [path: string, how: { body?: Buffer; abortAfter?: number }] {
  const kind = random.next()
  if (kind < 0.8) return ['/', {}]
  if (kind < 0.86) return [`/slow?${random.between(50, 1500)}`, {}]
  if (kind < 0.91) return [`/stream?${random.between(100, 1500)}`, {}]
  if (kind < 0.95) return ['/', { body: Buffer.alloc(random.between(1, 65_536)) }]
  return [random.pick([`/slow?${MOST_SLOW}`, `/stream?${MOST_SLOW}`]), { abortAfter: random.between(1, 200) }]
}
