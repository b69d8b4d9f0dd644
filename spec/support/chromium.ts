import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const EXECUTABLE = '/usr/bin/chromium'

/** Why a spec that needs a browser is skipped; false where there is one. */
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
