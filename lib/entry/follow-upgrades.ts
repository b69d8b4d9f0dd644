import { type Handler, upgradeOf } from '../handler.ts'
import type { LoadScope } from '../launch/caught-listen.ts'

/** Tells whether a handler takes upgrades each time that this changes. */
export async function followUpgrades(
  handler: Handler,
  scope: LoadScope,
  tell: (takesUpgrades: boolean) => void,
): Promise<void> {
  let last = upgradeOf(handler, scope.server) !== undefined
  const look = (): void => {
    const now = upgradeOf(handler, scope.server) !== undefined
    if (now !== last) tell(now)
    last = now
  }
  if (!handler.server) {
    await scope.listening()
    look()
  }
  const server = handler.server ?? scope.server
  // Node tells of a listener before it is there.
  const lookSoon = (event: string | symbol): void => {
    if (event === 'upgrade') process.nextTick(look)
  }
  server?.on('newListener', lookSoon).on('removeListener', lookSoon)
}
