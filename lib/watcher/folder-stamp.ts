import { identityOf, statOf } from '../files/gone.ts'

/** A text that tells a folder from another that takes its place. */
export async function stampOf(path: string): Promise<string> {
  try {
    const stats = await statOf(path)
    // With the time of birth, because the next folder may get the same inode number at once.
    return stats ? [identityOf(stats), stats.birthtimeNs].join(':') : 'gone'
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
