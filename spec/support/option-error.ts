/** Whether an error says that an option is bad, and says so with these words in it. */
export function isOptionError(part: string): (error: unknown) => boolean {
  return error =>
    error instanceof TypeError &&
    (error as NodeJS.ErrnoException).code === 'ERR_VHOST_OPTION' &&
    error.message.includes(part)
}
