import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { heapInUse, type ProcessState, processState } from './process-state.ts'
import { eventually, type World } from './world.ts'

/**
 * Checks that the process is the same before and after `act`. `warmUp` runs first, for what is made only once. `growth`
 * is the heap's allowance, in MB.
 */
export async function unchanged(
  t: TestContext,
  world: World | undefined,
  warmUp: () => Promise<void>,
  act: () => Promise<void>,
  growth = 3,
): Promise<void> {
  await warmUp()
  const before = await settledState()
  world?.told.splice(0)
  world?.errors.splice(0)
  const heapBefore = await heapInUse()
  const start = performance.now()
  await act()
  const seconds = (performance.now() - start) / 1000
  let after = processState()
  await eventually(() => {
    after = processState()
    assert.deepEqual(after, before)
  })
  // The spec itself keeps these.
  world?.told.splice(0)
  world?.errors.splice(0)
  const grown = (await heapInUse()) - heapBefore
  t.diagnostic(`${seconds.toFixed(1)} s; heap ${grown.toFixed(2)} MB; ${JSON.stringify(after)}`)
  assert.ok(grown < growth, `the heap has grown by ${grown.toFixed(2)} MB`)
}

/** In milliseconds: longer than the router looks for what is gone. */
const QUIET = 500

/** The state once it no longer changes: watches are opened and closed after an answer. */
async function settledState(): Promise<ProcessState> {
  let state = processState()
  let since = performance.now()
  await eventually(() => {
    const now = processState()
    if (JSON.stringify(now) !== JSON.stringify(state)) {
      state = now
      since = performance.now()
    }
    return performance.now() - since > QUIET
  })
  return state
}
