import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { hasStreams } from './has-streams.ts'

/**
 * Reads `+ pid` and `- pid`. At the end of its input it kills each process that is left, with its process group and its
 * cgroup, and removes the folder of the sockets and the cgroups. A shell takes a megabyte, Node would take forty.
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
 * Ends the processes of apps if the router was killed: an app that spins in a loop would never notice. Also removes
 * what else they left behind, threads included.
 */
export class Reaper {
  readonly #folder: string
  readonly #cgroups: string
  readonly #pids = new Set<number>()
  #shell: ChildProcess | undefined

  /** `folder` is removed with the processes, as are cgroups whose paths begin with `cgroups`, unless that is empty. */
  constructor(folder: string, cgroups: string) {
    this.#folder = folder
    this.#cgroups = cgroups
  }

  /** Begins. The folder is removed even if there never is a process to watch. */
  start(): void {
    if (this.#shell) return
    const shell = startShell(this.#folder, this.#cgroups)
    this.#shell = shell
    shell?.once('exit', (_, signal) => {
      if (this.#shell !== shell) return
      this.#shell = undefined
      // A shell that ended by itself would do so again and again.
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

/** Undefined if the router has no file descriptor or process left for it; the next app tries again. */
function startShell(folder: string, cgroups: string): ChildProcess | undefined {
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'express-van', folder, cgroups], {
    cwd: '/',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // Without the shell, apps still end with the router, except those that spin.
  shell.on('error', () => {})
  if (!hasStreams(shell) || shell.pid === undefined) return undefined
  shell.unref()
  const input = shell.stdin as unknown as Socket
  input.unref()
  input.on('error', () => {})
  return shell
}
