import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Owner } from './owner.ts'

const PROGRAM = fileURLToPath(new URL('../entry/parse-modules.js', import.meta.url))
const FLAGS = ['--experimental-vm-modules', '--no-warnings']
/** How long the search for the place may take, in milliseconds. */
const PATIENCE = 5000

/**
 * Adds the place to the error of an ES module that V8 cannot parse. Node itself adds it only when it ends a program.
 * `owner` is the user whose rights the app has, if they are not the router's.
 */
export async function tellPlace(error: unknown, entry: string, owner?: Owner): Promise<void> {
  if (!isWithoutPlace(error)) return
  const place = await placeIn(entry, owner)
  if (place !== undefined) error.stack = `${place}\n\n${error.stack}`
}

function isWithoutPlace(error: unknown): error is Error {
  return error instanceof Error && /^SyntaxError: .*\n\s+at compileSourceTextModule /.test(error.stack ?? '')
}

function placeIn(entry: string, owner: Owner | undefined): Promise<string | undefined> {
  return new Promise(resolve => {
    const options = { env: {}, cwd: '/', timeout: PATIENCE, ...owner }
    execFile(process.execPath, [...FLAGS, PROGRAM, entry], options, (_, __, stderr) => {
      resolve(/^(file:.*?)\n\nSyntaxError: /s.exec(stderr)?.[1])
    })
  })
}
