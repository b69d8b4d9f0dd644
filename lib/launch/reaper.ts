import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { hasStreams } from './has-streams.ts'

/**
 * Reads `+ pid` and `- pid`, and at the end of its input kills what is left, with its process group and its cgroup, and
 * removes the folder of the sockets and the cgroups. A shell takes a megabyte, where Node would take forty.
 */
const SCRIPT = `
trap '' INT TERM HUP
pids=' '
while read -r change pid; do
  case $change in
    +) pids="$pids$pid " ;;
    -) case $pids in *" $pid "*) pids="\${pids%% "$pid" *} \${pids#* "$pid" }" ;; esac ;;
  esac
done
for pid in $pids; do kill -9 "-$pid" || kill -9 "$pid"; done
rm -rf -- "$1"
[ -n "$2" ] || exit 0
for look in 1 2 3 4 5 6 7 8 9 10; do
  for pid in $pids; do kill -9 $(cat "$2$pid-"*/cgroup.procs); done
  rmdir -- "$2"* && exit 0
  sleep 0.1
done
`

/**
 * Ends the processes of apps where the router was killed, as one that spins in a loop would never notice by itself, and
 * removes what else there was of them, threads included.
 */
export class Reaper {
  readonly #folder: string
  readonly #cgroups: string
  readonly #pids = new Set<number>()
  #shell: ChildProcess | undefined

  /** `folder` is removed with them, and so are cgroups whose paths begin with `cgroups`, where that is not empty. */
  constructor(folder: string, cgroups: string) {
    this.#folder = folder
    this.#cgroups = cgroups
  }

  /** Begins; the folder is removed also where there never is a process to watch. */
  start(): void {
    if (this.#shell) return
    const shell = startShell(this.#folder, this.#cgroups)
    this.#shell = shell
    shell?.once('exit', (_, signal) => {
      if (this.#shell !== shell) return
      this.#shell = undefined
      // One that ends by itself would do so again and again.
      if (signal !== null) this.start()
    })
    for (const pid of this.#pids) this.#tell(`+ ${pid}\n`)
  }

  watch(pid: number): void {
    this.#pids.add(pid)
    this.#tell(`+ ${pid}\n`)
  }

  forget(pid: number): void {
    this.#pids.delete(pid)
    this.#tell(`- ${pid}\n`)
  }

  close(): void {
    this.#shell?.stdin?.end()
    this.#shell = undefined
  }

  #tell(line: string): void {
    if (this.#shell?.stdin?.writable) this.#shell.stdin.write(line)
  }
}

/** Undefined where the router has no file descriptor or process left for it; it is tried again for the next app. */
function startShell(folder: string, cgroups: string): ChildProcess | undefined {
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'express-van', folder, cgroups], {
    cwd: '/',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // Without it apps still end with the router, but for those that spin.
  shell.on('error', () => {})
  if (!hasStreams(shell) || shell.pid === undefined) return undefined
  shell.unref()
  const input = shell.stdin as unknown as Socket
  input.unref()
  input.on('error', () => {})
  return shell
}
