/** Reports the exception that ends the process or thread. An app may handle its exceptions itself, and go on or end. */
export function followExceptions(tell: (error: unknown) => void): void {
  let handled: { error: unknown } | undefined
  process.on('uncaughtExceptionMonitor', error => {
    if (isHandled()) handled = { error }
    else tell(error)
  })
  process.on('exit', code => {
    if (handled && code !== 0) tell(handled.error)
  })
}

function isHandled(): boolean {
  return process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()
}
