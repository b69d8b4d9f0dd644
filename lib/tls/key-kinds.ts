import type { X509Certificate } from 'node:crypto'
import { TLSSocket } from 'node:tls'

/**
 * Why clients may be shown the server's own certificate instead of the one that `SNICallback` gives, in words: its key
 * is of another kind, and this Node keeps both. Undefined if they are not. `socket` is what `SNICallback` is called on.
 * https://github.com/nodejs/node/issues/54235
 */
export function rivalOf(socket: unknown, { publicKey }: X509Certificate): string | undefined {
  if (!KEEPS_BOTH || !(socket instanceof TLSSocket)) return undefined
  const { asymmetricKeyType: kind } = publicKey
  const own = socket.getX509Certificate()?.publicKey.asymmetricKeyType
  if (own === undefined || own === kind) return undefined
  return `its key is of the kind ${kind}, the server's own of the kind ${own}: Node ${process.versions.node} keeps both, and clients that prefer ${own} are shown the server's (Node issue 54235)`
}

const [MAJOR = 0, MINOR = 0] = process.versions.node.split('.').map(Number)
const KEEPS_BOTH = MAJOR < 24 || (MAJOR === 24 && MINOR < 20) || MAJOR === 25 || (MAJOR === 26 && MINOR < 7)
