import { constants } from 'node:fs'

/** Not to wait for a pipe: that would hold one of the four threads for the file system for ever. Windows has none. */
export const READ_FLAGS: number = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
