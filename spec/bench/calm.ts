import { setTimeout as delay } from 'node:timers/promises'

const PAUSE = 20
/** A core whose sibling is busy takes twice as long. */
const SLOWER = 1.35
const TEXT = JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, name: `name ${id}` })))

/** Hands the best pace on to the processes of all benches: one of them may never see a calm moment. */
const FASTEST = 'BENCH_FASTEST'
const SEEK_MS = 3000

/** In milliseconds. */
let fastest = Number(process.env[FASTEST] ?? Number.POSITIVE_INFINITY)

/** Looks for a calm moment before the benches begin. */
export async function seekCalm(): Promise<void> {
  const end = performance.now() + SEEK_MS
  while (performance.now() < end) {
    isCalm()
    await delay(PAUSE)
  }
  process.env[FASTEST] = String(fastest)
}

/**
 * Waits for moments in which this core works at about the pace of its best ones: what else runs on a shared machine
 * halves it for seconds on end. Judges by work of its own, never by what is measured.
 */
export class Calm {
  #patience: number

  /** `patience`: how long to wait in all, in milliseconds. */
  constructor(patience: number) {
    this.#patience = patience
  }

  async wait(): Promise<void> {
    const start = performance.now()
    while (!isCalm() && performance.now() - start < this.#patience) await delay(PAUSE)
    this.#patience -= performance.now() - start
  }
}

function isCalm(): boolean {
  const now = Math.min(pace(), pace(), pace())
  fastest = Math.min(fastest, now)
  return now <= SLOWER * fastest
}

/** Node's own code, which need not be compiled first. */
function pace(): number {
  const start = performance.now()
  JSON.parse(TEXT)
  return performance.now() - start
}
