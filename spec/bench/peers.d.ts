declare module 'vhost' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  type Handle = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

  export default function vhost(hostname: string, handle: Handle): Handle
}

declare module 'express-vhost' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  type Handle = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

  const expressVhost: { vhost(): Handle; register(hostname: string, handle: Handle): void }
  export default expressVhost
}
