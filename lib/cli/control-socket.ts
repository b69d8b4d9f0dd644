import { existsSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ControlError } from './control-client.ts'
import { isAnswered } from './is-answered.ts'

/** The longest path of a Unix socket: the kernel takes 108 bytes with a NUL, 104 on macOS. */
const MAX_PATH = 103

/** Where the server on a port makes its socket: in a folder that this user alone may enter. */
export function controlSocketPath(port: number): string {
  return socketIn(ownFolder(), port)
}

/** Makes that folder. @throws ControlError if it exists and is not this user's alone */
export function prepareControlFolder(): void {
  const folder = ownFolder()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  checkFolder(folder)
}

/**
 * The socket of the server on a port. The server may have another environment: a login session has a folder for such
 * things, a service has none.
 * @throws ControlError if its folder is not this user's alone: what answers there may be somebody else's
 */
export async function findControlSocket(port: number): Promise<string> {
  const folder = await folderOfServer(port)
  checkFolder(folder)
  return socketIn(folder, port)
}

async function folderOfServer(port: number): Promise<string> {
  const own = ownFolder()
  const folders = [own, ...otherFolders()].filter(folder => existsSync(socketIn(folder, port)))
  // A socket that a killed server has left behind must not hide a live one.
  for (const folder of folders) if (await isAnswered(socketIn(folder, port))) return folder
  return folders[0] ?? own
}

function checkFolder(folder: string): void {
  const stats = lstatSync(folder, { throwIfNoEntry: false })
  if (stats && (stats.uid !== process.getuid?.() || (stats.mode & 0o077) !== 0)) {
    throw new ControlError(
      'other users can enter the folder of the control socket; choose another path with --socket',
    )
  }
}

/** @throws Error if the kernel would cut the path */
export function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) > MAX_PATH) {
    throw new Error(
      `the path of the control socket is longer than ${MAX_PATH} bytes; choose another with --socket`,
    )
  }
}

function socketIn(folder: string, port: number): string {
  return join(folder, `${port}.sock`)
}

function ownFolder(): string {
  return folderIn(process.env.XDG_RUNTIME_DIR || tmpdir())
}

/** Where a server of this user that runs in another environment has its socket. */
function otherFolders(): string[] {
  return [tmpdir(), `/run/user/${process.getuid?.()}`, '/tmp'].map(folderIn)
}

function folderIn(folder: string): string {
  return join(folder, `express-van-${process.getuid?.()}`)
}
