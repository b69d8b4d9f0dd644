import { constants } from 'node:os'
import { catchOwnSignals } from '../catch-own-signals.ts'

/**
 * By which programs end themselves: those of NestJS and Apollo once they have heard of it and let go of what they held. All
 * that end a process, so that none ends the router.
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
  // These would have the router stand still.
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  // This one opens its inspector.
  'SIGUSR1',
]

/** Has a signal by which an app in a thread ends itself end that thread: it would be the router's, and so its neighbours'. */
export function keepOwnSignals(): void {
  catchOwnSignals(ENDING, raise)
}

/** As the system does in a process: without a listener the app ends, but by the signal for an inspector, which it has not. */
export function raise(signal: NodeJS.Signals): void {
  if (!process.emit(signal, signal) && signal !== 'SIGUSR1') process.exit(128 + constants.signals[signal])
}
