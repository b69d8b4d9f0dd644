import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ControlError } from './control-client.ts'

/** What the kernel takes for the path of a Unix socket: 108 bytes with a NUL, 104 on macOS. */
const MAX_PATH = 103

/** Where the server on a port can be asked: a socket in a folder that this user alone may enter. */
export function controlSocketPath(port: number): string {
  return join(controlFolder(), `${port}.sock`)
}

/** Makes that folder. @throws ControlError where it is there and not this user's alone */
export function prepareControlFolder(): void {
  mkdirSync(controlFolder(), { recursive: true, mode: 0o700 })
  checkControlFolder()
}

/** @throws ControlError where that folder is not this user's alone: what answers there may be somebody else's */
export function checkControlFolder(): void {
  const stats = lstatSync(controlFolder(), { throwIfNoEntry: false })
  if (stats && (stats.uid !== process.getuid?.() || (stats.mode & 0o077) !== 0)) {
    throw new ControlError(
      'the folder of the control socket may be entered by others; choose a path by --socket',
    )
  }
}

/** @throws Error where the kernel would cut the path */
export function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) > MAX_PATH) {
    throw new Error(`the path of the control socket is longer than ${MAX_PATH} bytes; choose one by --socket`)
  }
}

function controlFolder(): string {
  return join(process.env.XDG_RUNTIME_DIR || tmpdir(), `express-van-${process.getuid?.()}`)
}
