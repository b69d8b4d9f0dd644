#!/usr/bin/env node
import { createRequire } from 'node:module'
import { type Command, parseCommand, UsageError } from './cli/command-line.ts'
import { ControlError } from './cli/control-client.ts'
import { help } from './cli/help.ts'
import { printableEntry } from './values/printable.ts'

/** 0: success. 1: failure, or a problem was found. 2: wrong command line. 3: no server answered. */
type ExitCode = 0 | 1 | 2 | 3

/** Used if the width of the terminal is unknown. */
const HELP_WIDTH = 100

process.exitCode = await run(process.argv.slice(2))

async function run(words: string[]): Promise<ExitCode> {
  try {
    const command = parseCommand(words)
    // A server must survive a full disk.
    if (command.name !== 'serve') process.stdout.on('error', failUnwritten)
    if (command.name === 'help') console.log(help(command.topic, process.stdout.columns ?? HELP_WIDTH))
    else if (command.name === 'version') console.log(version())
    else return (await (await importCommands())[command.name](command)) ? 0 : 1
    return 0
  } catch (error) {
    const isUsage = error instanceof UsageError
    console.error(`express-van: ${printableEntry(String(error instanceof Error ? error.message : error))}`)
    if (isUsage) console.error(`Try: express-van ${error.command ? `${error.command} ` : ''}--help`)
    return isUsage ? 2 : error instanceof ControlError ? 3 : 1
  }
}

/** `console` ignores such errors. A reader that went away has got what it wanted. */
function failUnwritten({ code, message }: NodeJS.ErrnoException): void {
  if (code === 'EPIPE') return
  console.error(`express-van: its output is lost: ${message}`)
  process.exit(1)
}

type Commands = Record<Command['name'], (command: Command) => Promise<boolean>>

/** Imported only when needed: the router uses Express, which is installed beside this package and may be missing. */
async function importCommands(): Promise<Commands> {
  try {
    const [{ events, reload, status, why }, { serve }] = await Promise.all([
      import('./cli/queries.ts'),
      import('./cli/serve.ts'),
    ])
    return { serve, status, why, reload, events }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes("package 'express'")) throw error
    throw new Error('express-van needs express, which is not installed: npm install express', {
      cause: error,
    })
  }
}

function version(): string {
  return createRequire(import.meta.url)('express-van/package.json').version
}
