import type { ChildProcess } from 'node:child_process'

/**
 * Whether there is anything of a process that was to be started but an `error` that is yet to come: where Node runs out
 * of file descriptors there is not.
 */
export function hasStreams(child: ChildProcess): boolean {
  return (child as { stdio?: unknown }).stdio !== undefined
}
