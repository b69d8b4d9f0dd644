import type { Stats } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'

/** Whether the whole file is to be sent although a part is asked for: where `send` does not do as RFC 9110 says. */
export function ignoresRange(
  headers: IncomingHttpHeaders,
  lastModified: string,
  { size }: Pick<Stats, 'size'>,
): boolean {
  const condition = String(headers['if-range'] ?? '')
  // §13.1.5: it must be the very date. A later one is that of a release which has since been rolled back.
  const isDate = condition !== '' && !condition.includes('"')
  if (isDate && Date.parse(condition) !== Date.parse(lastModified)) return true
  // §14.1.2: a suffix that is longer than the file stands for all of it, also if other ranges are asked for beside it.
  const [, ranges = ''] = /^ *bytes=(.*)$/.exec(headers.range ?? '') ?? []
  return ranges.split(',').some(range => Number(/^\s*-(\d+)\s*$/.exec(range)?.[1] ?? 0) > size)
}
