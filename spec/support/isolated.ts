import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export function socketFolders(pid = process.pid): string[] {
  return readdirSync(tmpdir())
    .filter(name => name.startsWith(`express-van-${pid}-`))
    .map(name => join(tmpdir(), name))
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A zombie, which has ended but was not waited for, no longer counts.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
