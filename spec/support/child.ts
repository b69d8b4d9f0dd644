import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly output: string
  readonly errors: string
}

interface ChildOptions {
  /** What starts Node, such as `['unshare', '-Ur']`. */
  before?: readonly string[]
  nodeOptions?: readonly string[]
  /** The child is killed after this many milliseconds. */
  limit?: number
}

/** Runs an ES module in a process of its own. In its imports, `lib` and `support` stand for the compiled folders. */
export async function runChild(source: string, options: ChildOptions = {}): Promise<Ended> {
  const { before = [], nodeOptions = [], limit = 30_000 } = options
  const code = source.replaceAll(
    /(?<=(?:from |import\()')(lib|support)(?=\/)/g,
    folder => new URL(folder === 'lib' ? '../../lib' : '../support', import.meta.url).href,
  )
  const command = [...before, process.execPath, ...nodeOptions, '--input-type=module', '--eval', code]
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit,
    killSignal: 'SIGKILL',
    // Otherwise Node's test runner would take the child's output for a report.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  })
  const ended = new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject).on('close', (exitCode, signal) => resolve([exitCode, signal]))
  })
  const [output, errors, [exitCode, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    ended,
  ])
  return { code: exitCode, signal, output, errors }
}

/** What the child printed with `console.log(JSON.stringify(…))`. If it failed, throws with its errors. */
export async function resultOfChild<T>(source: string, options: ChildOptions = {}): Promise<T> {
  const { code, signal, output, errors } = await runChild(source, options)
  if (code !== 0) throw new Error(`the child ended with ${code ?? signal}:\n${errors}\n${output}`)
  return JSON.parse(output) as T
}
