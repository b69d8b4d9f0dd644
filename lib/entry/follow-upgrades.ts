import { type Handler, upgradeOf } from '../handler.ts'
import type { LoadScope } from '../launch/caught-listen.ts'

/** Whether a handler takes upgrades now. */
export function takesUpgradesNow(handler: Handler, scope: LoadScope): boolean {
  return upgradeOf(handler, scope.server) !== undefined
}

/** Calls `tell` whenever it changes whether a handler takes upgrades. */
export async function followUpgrades(
  handler: Handler,
  scope: LoadScope,
  tell: (takesUpgrades: boolean) => void,
): Promise<void> {
  let last = takesUpgradesNow(handler, scope)
  const look = (): void => {
    const now = takesUpgradesNow(handler, scope)
    if (now !== last) tell(now)
    last = now
  }
  if (!handler.server) {
    await scope.listening()
    look()
  }
  const server = handler.server ?? scope.server
  // Node emits `newListener` before the listener is there.
  const lookSoon = (event: string | symbol): void => {
    if (event === 'upgrade') process.nextTick(look)
  }
  server?.on('newListener', lookSoon).on('removeListener', lookSoon)
}
