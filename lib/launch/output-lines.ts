import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/** How long what has ended may hold its output open, in milliseconds. */
const LAST_LINES = 1000

/**
 * Tells of each line that a stream brings, without its end, and of a last one that has none. What is longer than
 * `longest` is told in parts, so that an app which never ends a line cannot fill the memory.
 */
export function readLines(stream: Readable, longest: number, tell: (line: string) => void): void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) tell(line.endsWith('\r') ? line.slice(0, -1) : line)
    for (; rest.length > longest; rest = rest.slice(longest)) tell(rest.slice(0, longest))
  })
  const tellRest = (): void => {
    rest += decoder.end()
    if (rest !== '') tell(rest)
    rest = ''
  }
  // A socket says that it has closed long after its end; what is destroyed has no end.
  stream.once('end', tellRest).once('close', tellRest)
  stream.on('error', () => {})
}

/** Settles when all that streams will bring is read, or a moment later: what an app started may hold them open. */
export async function lastLines(streams: readonly Readable[]): Promise<void> {
  const open = streams.filter(stream => !stream.readableEnded && !stream.destroyed)
  const ends = open.map(stream => new Promise(resolve => stream.once('end', resolve).once('close', resolve)))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise(resolve => {
    // Once more after what is there to be read: the process may have been kept from it for as long.
    timer = setTimeout(() => setImmediate(resolve), LAST_LINES)
  })
  await Promise.race([Promise.all(ends), late])
  clearTimeout(timer)
}
