import { readFileSync } from 'node:fs'
import type { Figures } from '../entry/messages.ts'

/** proc(5) counts processor time in these, on every architecture that Node runs on. */
const TICK_MS = 10
const UTIME = 11
const STIME = 12
const RSS = 21
const PAGE = 4096

/** What Linux says of a process now; undefined where it says nothing. */
export function readProcessFigures(pid: number): Figures | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name of the program, in brackets, may hold anything.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const [utime = 0, stime = 0, rss = 0] = [UTIME, STIME, RSS].map(at => fields[at])
    return { memory: rss * PAGE, cpu: (utime + stime) * TICK_MS }
  } catch {
    return undefined
  }
}
