import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const EXECUTABLE = '/usr/bin/chromium'

/** Why specs that need a browser are skipped; false if there is a browser. */
export const withoutChromium: string | false = existsSync(EXECUTABLE)
  ? false
  : `needs Chromium at ${EXECUTABLE}`

export async function launchChromium(): Promise<Browser> {
  return await chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
    ],
  })
}
