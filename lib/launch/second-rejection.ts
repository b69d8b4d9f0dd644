const tolerated = new Set<unknown>()

/**
 * On Node 20, what a CommonJS module throws while an ES module imports it is also the reason of a second rejection,
 * which nobody can handle and which would end the process. Call this with the error as soon as it is caught.
 */
export function tolerateSecondRejection(reason: unknown): void {
  if (!process.version.startsWith('v20.')) return
  if (tolerated.size === 0) process.on('unhandledRejection', onRejection)
  tolerated.add(reason)
  setImmediate(() => {
    tolerated.delete(reason)
    if (tolerated.size === 0) process.off('unhandledRejection', onRejection)
  })
}

// If nobody else listens, any other rejection must end the process as usual.
function onRejection(reason: unknown): void {
  if (!tolerated.has(reason) && process.listenerCount('unhandledRejection') === 1) throw reason
}
