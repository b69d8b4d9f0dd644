import type { LoadScope } from './caught-listen.ts'

/** How long after `listen()` a module may go on running, in milliseconds. */
const EXPORT_GRACE = 2000

/**
 * What a module exports. Undefined if it listens and runs for longer: like any program it may await its own end, and
 * its server answers meanwhile.
 */
export async function exportsInTime(loading: Promise<unknown>, scope: LoadScope): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = scope.listening().then(async () => {
    await new Promise(resolve => {
      timer = setTimeout(resolve, EXPORT_GRACE).unref()
    })
    return scope.server ? undefined : await loading
  })
  try {
    return await Promise.race([loading, tooLong])
  } finally {
    clearTimeout(timer)
    scope.forgetListening()
  }
}
