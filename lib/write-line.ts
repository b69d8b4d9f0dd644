/** What a terminal would obey instead of show: all but tabs and colours; and what turns or breaks a line. */
const COMMANDS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
  /\x1b\[[\d;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const RESET = '\x1b[0m'

/** Writes a line that an app wrote to the router's own stream, with the app's name before it. */
export function writeLine(name: string, stream: 'stdout' | 'stderr', line: string): void {
  let end = ''
  const shown = line.replace(COMMANDS, found => {
    if (found.length === 1) return '\ufffd'
    // A colour, which the line of another is not to have.
    end = RESET
    return found
  })
  process[stream].write(`${name.replace(COMMANDS, '\ufffd')} | ${shown}${end}\n`)
}
