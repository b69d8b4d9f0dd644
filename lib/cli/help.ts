import { COMMANDS, type CommandName, type Flag, HELP } from './commands.ts'

const EXIT_CODES =
  'Exit codes: 0: success; 1: failure, or a problem was found; 2: wrong command line; 3: no server answers.'

/** What a command is for, in lines of at most `width` characters if its words fit. */
export function help(topic: CommandName | undefined, width: number): string {
  if (topic) {
    const { operand, text, flags } = COMMANDS[topic]
    const usage = `express-van ${topic}${operand ? ` <${operand}>` : ''} [options]`
    return [
      `Usage: ${usage}`,
      '',
      ...wrapped(text, width),
      '',
      ...flagLines({ ...flags, ...HELP }, width),
    ].join('\n')
  }
  const commands = Object.entries(COMMANDS).map(([name, { operand, text }]) => [
    `${name}${operand ? ` <${operand}>` : ''}`,
    text,
  ])
  return [
    'Usage: express-van <command> [options]',
    '',
    'One folder per host name, and the web app in it is live.',
    '',
    ...aligned(commands, width),
    '',
    ...wrapped(
      'express-van <command> --help lists its options; express-van --version prints the version.',
      width,
    ),
    ...wrapped(EXIT_CODES, width),
  ].join('\n')
}

function flagLines(flags: Record<string, Flag>, width: number): string[] {
  return aligned(
    Object.entries(flags).map(([name, { value, text }]) => [`--${name}${value ? ` <${value}>` : ''}`, text]),
    width,
  )
}

function aligned(rows: readonly (readonly string[])[], width: number): string[] {
  const left = Math.max(...rows.map(([name = '']) => name.length)) + 4
  return rows.flatMap(([name = '', text = '']) =>
    wrapped(text, Math.max(LEAST_TEXT, width - left)).map(
      (line, i) => `${(i === 0 ? `  ${name}` : '').padEnd(left)}${line}`,
    ),
  )
}

/** Text columns are never narrower than this. */
const LEAST_TEXT = 24

function wrapped(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines
}
