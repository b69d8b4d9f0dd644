import { readdirSync, readFileSync } from 'node:fs'

/** What a process holds that must not grow. */
export interface ProcessState {
  /** Linux only; 0 elsewhere. */
  watches: number
  /** Linux only; 0 elsewhere. */
  descriptors: number
  /** Linux only; 0 elsewhere. */
  threads: number
  /** Timers and handles that keep the process alive. */
  resources: Record<string, number>
  /** Listeners on `process`. */
  listeners: number
}

export function processState(): ProcessState {
  const resources: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    // Polling reads the disk all the time.
    if (!kind.startsWith('FSReq')) resources[kind] = (resources[kind] ?? 0) + 1
  }
  return {
    watches: inotifyWatches(),
    descriptors: listed('/proc/self/fd').length,
    threads: listed('/proc/self/task').length,
    resources,
    listeners: process.eventNames().reduce((count, event) => count + process.listenerCount(event), 0),
  }
}

/** How many inotify watches this process has. */
export function inotifyWatches(): number {
  let watches = 0
  for (const descriptor of listed('/proc/self/fdinfo')) {
    try {
      const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1')
      watches += info.match(/^inotify wd:/gm)?.length ?? 0
    } catch {
      // It was closed after it was listed.
    }
  }
  return watches
}

/** How many timers keep this process running. */
export function timers(): number {
  return process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length
}

/** The heap in use, in MB, after everything collectable has been collected. */
export async function heapInUse(): Promise<number> {
  const gc = globalThis.gc as () => void
  for (let round = 0; round < 5; round++) {
    gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed / 2 ** 20
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
