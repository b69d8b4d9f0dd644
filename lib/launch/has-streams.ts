import type { ChildProcess } from 'node:child_process'

/**
 * Whether a process has been started at all. When Node runs out of file descriptors, there is nothing of it but an
 * `error` still to come.
 */
export function hasStreams(child: ChildProcess): boolean {
  return (child as { stdio?: unknown }).stdio !== undefined
}
