import { setTimeout as delay } from 'node:timers/promises'

/** How long one process waits in all, in milliseconds. */
const PATIENCE = 4000
const PAUSE = 20
/** A core whose sibling is busy takes twice as long. */
const SLOWER = 1.35
const TEXT = JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, name: `name ${id}` })))

let patience = PATIENCE
let fastest = Number.POSITIVE_INFINITY

/**
 * Waits until this core works at about the pace of its best moments: what else runs on a shared machine halves it for
 * seconds on end. Judges by work of its own, never by what is measured. Once the patience is over it waits no more.
 */
export async function calm(): Promise<void> {
  const start = performance.now()
  while (!isCalm() && performance.now() - start < patience) await delay(PAUSE)
  patience -= performance.now() - start
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
