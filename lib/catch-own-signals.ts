import { constants } from 'node:os'

/** Calls `act` instead when the process, or a thread of it, sends itself one of these signals, by name or number. */
export function catchOwnSignals(
  signals: readonly NodeJS.Signals[],
  act: (signal: NodeJS.Signals) => void,
): void {
  const { kill } = process
  process.kill = (pid, signal = 'SIGTERM') => {
    const own = signals.find(name => name === signal || constants.signals[name] === signal)
    if (pid !== process.pid || !own) return kill.call(process, pid, signal)
    act(own)
    return true
  }
}
