import { constants } from 'node:fs'

/**
 * Does not wait for a pipe, which would hold one of the four file-system threads for ever. Windows has no such flag.
 */
export const READ_FLAGS: number = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
