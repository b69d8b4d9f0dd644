import { setTimeout as delay } from 'node:timers/promises'
import { type Figure, medianOf } from './figure.ts'
import type { Measure, Mode } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { interleaved, roundByRound } from './rounds.ts'
import type { RouterVerbs } from './router-process.ts'
import { Sites, SMALL_APP } from './sites.ts'
import { Worker } from './worker.ts'

const FOLDERS = 100_000
const LOADED = 100
const ROUNDS: Record<Mode, number> = { check: 3, short: 4, full: 25 }
const IDLE_SECONDS: Record<Mode, number> = { check: 5, short: 6, full: 60 }
const MB = 2 ** 20
const TARGET = { startUp: 150, resident: 10, idle: 1 }

interface Started {
  readonly startUp: number
  readonly resident: number
}

/** Compares a base path of this many folders with one that has only those that are loaded. */
export async function measure(mode: Mode): Promise<Measure[]> {
  using few = Sites.inMemory()
  using many = Sites.inMemory()
  const hosts = few.add(LOADED, SMALL_APP)
  many.add(LOADED, SMALL_APP)
  many.addEmptyFolders(FOLDERS - LOADED)
  const started: Record<'few' | 'many', Started[]> = { few: [], many: [] }
  const start = async (sites: Sites, into: Started[]): Promise<undefined> => {
    await using worker = new Worker<RouterVerbs>('router-process')
    into.push(await startedWith(worker, sites, hosts))
  }
  await interleaved(
    { few: () => start(few, started.few), many: () => start(many, started.many) },
    { rounds: ROUNDS[mode], warmUp: 0 },
  )
  const added = (of: (one: Started) => number): Figure =>
    medianOf(roundByRound(started.many.map(of), started.few.map(of), (one, other) => one - other))
  const [idle, idleOfFew] = await Promise.all(
    [many, few].map(async sites => await idleShare(sites, hosts, IDLE_SECONDS[mode])),
  )
  const at = `${FOLDERS.toLocaleString('en')} folders`
  return [
    {
      name: `start to first answer, ${at} above ${LOADED}`,
      unit: 'ms',
      ours: added(({ startUp }) => startUp),
      beside: {
        'in all': medianOf(started.many.map(({ startUp }) => startUp)),
        ...measuredElsewhere('start-up'),
      },
      limit: TARGET.startUp,
    },
    {
      name: `resident memory, ${at} above ${LOADED}`,
      unit: 'MB',
      ours: added(({ resident }) => resident / MB),
      beside: measuredElsewhere('memory of folders'),
      limit: TARGET.resident,
    },
    {
      name: `CPU when idle, ${at}, ${LOADED} loaded`,
      unit: '%',
      ours: idle as Figure,
      beside: { [`${LOADED} folders`]: idleOfFew as Figure },
      limit: TARGET.idle,
    },
  ]
}

async function startedWith(worker: Worker<RouterVerbs>, sites: Sites, hosts: string[]): Promise<Started> {
  const startUp = await worker.ask('start', { options: { basePath: sites.base }, host: hosts[0] as string })
  await worker.ask('load', hosts)
  await delay(300)
  const { resident } = await worker.ask('memory', undefined)
  return { startUp, resident }
}

async function idleShare(sites: Sites, hosts: string[], seconds: number): Promise<Figure> {
  await using worker = new Worker<RouterVerbs>('router-process')
  await startedWith(worker, sites, hosts)
  await delay(2000)
  const shares: number[] = []
  for (let second = 0; second < seconds; second++) {
    const [cpu, start] = [await worker.ask('cpuMilliseconds', undefined), performance.now()]
    await delay(1000)
    const used = (await worker.ask('cpuMilliseconds', undefined)) - cpu
    shares.push((100 * used) / (performance.now() - start))
  }
  return medianOf(shares)
}
