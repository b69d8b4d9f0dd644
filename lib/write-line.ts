import { setImmediate as nextTurn } from 'node:timers/promises'

const ESCAPE = '\x1b'
/**
 * What a terminal would obey instead of show, except tabs, and what turns or breaks a line. Colours match too, and are
 * kept.
 */
const COMMANDS = new RegExp(`${ESCAPE}\\[[\\d;]*m|(?!\\t)[\\p{Cc}\\p{Zl}\\p{Zp}\\p{Bidi_Control}]`, 'gu')
const RESET = `${ESCAPE}[0m`
/** If more bytes than this wait to be written, whoever reads them is too slow for more. */
const MAX_WAITING = 64 * 1024

/** Writes an app's line to the router's own stream, with the app's name before it. */
export function writeLine(name: string, stream: 'stdout' | 'stderr', line: string): void {
  let end = ''
  const shown = line.replace(COMMANDS, found => {
    if (found.length === 1) return '\ufffd'
    // A colour must not reach another app's line.
    end = RESET
    return found
  })
  outliveErrors()
  process[stream].write(`${name.replace(COMMANDS, '\ufffd')} | ${shown}${end}\n`)
}

let isGuarded = false

/** A full disk, or a reader that has gone, must not end the router; `console` itself outlives only the first error. */
export function outliveErrors(): void {
  if (isGuarded) return
  isGuarded = true
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}

/**
 * Settles in the next turn or, if more than a little waits in the router's own streams, when those have been written
 * out.
 */
export async function roomToWrite(): Promise<void> {
  await nextTurn()
  // One promise for all apps that wait.
  room ??= Promise.all([process.stdout, process.stderr].map(writtenOut)).finally(() => {
    room = undefined
  })
  await room
}

let room: Promise<unknown> | undefined

async function writtenOut(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.destroyed || stream.writableLength <= MAX_WAITING) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}
