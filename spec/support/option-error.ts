/** Checks that an error is an option error and that its message contains this text. */
export function isOptionError(part: string): (error: unknown) => boolean {
  return error =>
    error instanceof TypeError &&
    (error as NodeJS.ErrnoException).code === 'ERR_VHOST_OPTION' &&
    error.message.includes(part)
}
