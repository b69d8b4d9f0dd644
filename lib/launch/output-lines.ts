import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

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
  stream.once('close', () => {
    rest += decoder.end()
    if (rest !== '') tell(rest)
    rest = ''
  })
  stream.on('error', () => {})
}
