/** What a terminal would obey instead of show: all but tabs and colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
const COMMANDS = /\x1b\[[\d;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/** Writes a line that an app wrote to the router's own stream, with the app's name before it. */
export function writeLine(name: string, stream: 'stdout' | 'stderr', line: string): void {
  const shown = line.replace(COMMANDS, found => (found.endsWith('m') && found.length > 1 ? found : '\ufffd'))
  process[stream].write(`${name} | ${shown}\n`)
}
