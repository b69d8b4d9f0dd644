import { connect } from 'node:net'

/** These errors mean that somebody may listen: another user, or a suspended process that has no room for more. */
const UNREACHED = ['EACCES', 'EPERM', 'EAGAIN']

/** Whether somebody listens at a socket, or may. */
export function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ path: socketPath })
      .on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      .on('error', ({ code = '' }: NodeJS.ErrnoException) => resolve(UNREACHED.includes(code)))
  })
}
