import { cpus, loadavg, release, totalmem } from 'node:os'

/** What figures depend on, and nothing that tells whose machine it was. */
export interface Machine {
  readonly node: string
  readonly system: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGB: number
  readonly date: string
  /** The load average of the last minute, before and after the run. */
  readonly load: { readonly before: number; readonly after: number }
}

export function describeMachine(loadBefore: number): Machine {
  const all = cpus()
  return {
    node: process.version,
    system: `${process.platform} ${process.arch}, kernel ${release().split('.').slice(0, 2).join('.')}`,
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    date: new Date().toISOString().slice(0, 10),
    load: { before: loadBefore, after: loadNow() },
  }
}

export function loadNow(): number {
  return Math.round((loadavg()[0] as number) * 10) / 10
}

export function lineOf({ node, system, cpu, cores, memoryGB, date, load }: Machine): string {
  const average = `load average ${load.before} before, ${load.after} after`
  return `Node ${node}, ${system}, ${cores} × ${cpu}, ${memoryGB} GB, ${date}, ${average}`
}
