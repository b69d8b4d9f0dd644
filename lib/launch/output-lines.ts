import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { roomToWrite } from '../write-line.ts'

/** More lines in one turn would delay whoever waits for an answer of another app. */
const LINES_IN_A_TURN = 64
/** The same for bytes: lines may be long, or never end. */
const BYTES_IN_A_TURN = 16 * 1024

/** Streams of apps that have ended: all they hold is read at once. */
const ending = new WeakSet<Readable>()

/**
 * Calls `tell` with each line of a stream, without its line end, and with a last one that has none. A line longer than
 * `longest` is told in parts, so that an app which never ends a line cannot fill the memory. If an app writes very
 * much, nothing more is read until `room` settles: that slows the app, not its neighbours.
 */
export function readLines(
  stream: Readable,
  longest: number,
  tell: (line: string) => void,
  room: () => Promise<void> = roomToWrite,
): void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  let told = 0
  stream.on('data', (chunk: Buffer) => {
    const isEnding = ending.has(stream)
    const end = isEnding ? chunk.length : endOfLines(chunk, LINES_IN_A_TURN)
    const lines = (rest + decoder.write(chunk.subarray(0, end))).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) tell(line.endsWith('\r') ? line.slice(0, -1) : line)
    for (; rest.length > longest; rest = rest.slice(longest)) tell(rest.slice(0, longest))
    told += end
    if (isEnding || (end === chunk.length && told < BYTES_IN_A_TURN)) return
    told = 0
    stream.pause()
    if (end < chunk.length) stream.unshift(chunk.subarray(end))
    void room().then(() => stream.resume())
  })
  const tellRest = (): void => {
    rest += decoder.end()
    if (rest !== '') tell(rest)
    rest = ''
  }
  // A socket emits `close` long after its `end`; a destroyed stream emits no `end`.
  stream.once('end', tellRest).once('close', tellRest)
  stream.on('error', () => {})
}

/**
 * Settles when all that the streams of an ended app hold has been read. They need not end: what the app started may
 * hold them open for ever.
 */
export async function lastLines(streams: readonly Readable[]): Promise<void> {
  const open = streams.filter(stream => !stream.readableEnded && !stream.destroyed)
  const ends = open.map(stream => new Promise(resolve => stream.once('end', resolve).once('close', resolve)))
  for (const stream of open) {
    ending.add(stream)
    stream.resume()
  }
  await Promise.race([Promise.all(ends), wholeTurn()])
  for (const stream of open) ending.delete(stream)
}

/** Where this many lines end, or the chunk. */
function endOfLines(chunk: Buffer, lines: number): number {
  let end = 0
  for (let line = 0; line < lines; line++) {
    const at = chunk.indexOf(10, end)
    if (at < 0) return chunk.length
    end = at + 1
  }
  return end
}

/** Between the two turns, whatever is there is read, however long this process was held up. */
async function wholeTurn(): Promise<void> {
  await nextTurn()
  await nextTurn()
}
