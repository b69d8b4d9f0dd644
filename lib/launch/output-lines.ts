import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { setImmediate as nextTurn } from 'node:timers/promises'

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

/**
 * Settles when all is read that streams hold of what has ended. They need not end: what an app started may hold them
 * open for ever.
 */
export async function lastLines(streams: readonly Readable[]): Promise<void> {
  const open = streams.filter(stream => !stream.readableEnded && !stream.destroyed)
  const ends = open.map(stream => new Promise(resolve => stream.once('end', resolve).once('close', resolve)))
  await Promise.race([Promise.all(ends), wholeTurn()])
}

/** Between the two, whatever is there is read, however long this process was kept from it. */
async function wholeTurn(): Promise<void> {
  await nextTurn()
  await nextTurn()
}
