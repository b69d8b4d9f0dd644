import { readFileSync } from 'node:fs'
import type { Figures } from '../entry/messages.ts'

/** proc(5) counts processor time in ticks of this length, on every architecture that Node runs on. */
const TICK_MS = 10
const UTIME = 11
const STIME = 12

/** What Linux now says about a process; undefined if it says nothing. */
export function readProcessFigures(pid: number): Figures | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name of the program, in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // Not from `stat`, which counts in pages: their size depends on the kernel.
    const [, kibibytes] = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    return {
      memory: kibibytes === undefined ? null : Number(kibibytes) * 1024,
      cpu: (Number(fields[UTIME]) + Number(fields[STIME])) * TICK_MS,
    }
  } catch {
    return undefined
  }
}
