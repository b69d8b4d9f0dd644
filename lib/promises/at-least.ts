import { setTimeout as delay } from 'node:timers/promises'

/** How many milliseconds a timer may fire before its time by `performance.now()`. */
const TIMER_EARLY = 5

/** Waits for this many milliseconds or a little longer, but never less, as a timer alone might. */
export async function atLeast(milliseconds: number, options?: { readonly ref: boolean }): Promise<void> {
  await delay(milliseconds + TIMER_EARLY, undefined, options)
}
