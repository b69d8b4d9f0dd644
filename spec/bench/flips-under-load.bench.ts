import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { figureOf } from './figure.ts'
import type { FlipsUnderLoadVerbs } from './flips-under-load-process.ts'
import { type Measure, type Mode, namedCount } from './measure.ts'
import { measuredElsewhere } from './recorded-peers.ts'
import { ReleaseClients } from './release-clients.ts'
import { Sites } from './sites.ts'
import { Worker } from './worker.ts'

const HOST = 'host.bench.test'
const CLIENTS = 32
const FLIPS: Record<Mode, number> = { check: 50, short: 200, full: 1000 }
/** In milliseconds: a flip that has not been seen by then is lost. */
const PATIENCE_MS = 10_000
const MOST_PAUSE_MS = 20

/** Each flip leads to a release of its own, which clients that never stop asking must see. */
export async function measure(mode: Mode): Promise<Measure[]> {
  using sites = new Sites()
  const flips = FLIPS[mode]
  deploy(sites.base, 0)
  await using worker = new Worker<FlipsUnderLoadVerbs>('flips-under-load-process')
  const clients = new ReleaseClients(await worker.ask('start', join(sites.base, 'www')), HOST, CLIENTS)
  let lost = 0
  for (let release = 1; release <= flips; release++) {
    deploy(sites.base, release)
    if (!(await clients.sees(release, PATIENCE_MS))) lost++
    await delay(Math.random() * MOST_PAUSE_MS)
  }
  await clients.stop()
  const { failed, failure, requests } = clients
  const under = `${namedCount(flips, 'flip')} under ${CLIENTS} clients`
  return [
    {
      name: `failed answers of ${requests.toLocaleString('en')}, ${under}`,
      unit: 'answers',
      ours: figureOf(failed),
      beside: {},
      limit: 0,
      ...(failure === undefined ? {} : { note: failure }),
    },
    {
      name: `lost of ${under}`,
      unit: 'flips',
      ours: figureOf(lost),
      beside: measuredElsewhere('flips lost'),
      limit: 0,
    },
  ]
}

function deploy(base: string, release: number): void {
  const www = join(base, 'www')
  const folder = join(base, 'releases', String(release), 'app')
  mkdirSync(www, { recursive: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'index.js'), `module.exports = (req, res) => res.end('${release}')\n`)
  symlinkSync(`../releases/${release}`, join(www, 'new'))
  renameSync(join(www, 'new'), join(www, HOST))
}
