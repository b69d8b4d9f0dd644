import { connect } from 'node:net'

/** By them it is known that somebody may listen: another user, or one who is suspended and has no room for more. */
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
