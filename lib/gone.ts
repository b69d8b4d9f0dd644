const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/** Resolves to undefined where nothing is at the path; any other error of the file system stays an error. */
export async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** Whether an error of the file system says that nothing is there, rather than that it cannot be read now. */
export function isGone(error: unknown): boolean {
  return GONE.has((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}
