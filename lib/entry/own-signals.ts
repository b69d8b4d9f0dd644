import { constants } from 'node:os'
import { catchOwnSignals } from '../catch-own-signals.ts'

/**
 * The signals by which programs end themselves: those of NestJS and Apollo do so once they have received one and let go
 * of what they held. The list has every signal that ends a process, so that none ends the router.
 */
const ENDING: readonly NodeJS.Signals[] = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR2',
  'SIGABRT',
  'SIGKILL',
  'SIGALRM',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGPWR',
  'SIGSTKFLT',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGTRAP',
  'SIGSYS',
  'SIGBUS',
  'SIGFPE',
  'SIGILL',
  'SIGSEGV',
  // These would suspend the router.
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  // This one would open the router's inspector.
  'SIGUSR1',
]

/**
 * Makes a signal by which an app in a thread ends itself end only that thread. It would otherwise go to the router, and
 * so to the app's neighbours.
 */
export function keepOwnSignals(): void {
  catchOwnSignals(ENDING, raise)
}

/**
 * Does what the system does in a process: without a listener, the app ends. The signal for an inspector is ignored, as
 * a thread has none.
 */
export function raise(signal: NodeJS.Signals): void {
  if (!process.emit(signal, signal) && signal !== 'SIGUSR1') process.exit(128 + constants.signals[signal])
}
