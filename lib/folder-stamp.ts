import { identityOf, statOf } from './gone.ts'

/** Tells a folder from another that takes its place. */
export async function stampOf(path: string): Promise<string> {
  try {
    const stats = await statOf(path)
    // The time of birth: the number of an inode is given to the next folder at once.
    return stats ? [identityOf(stats), stats.birthtimeNs].join(':') : 'gone'
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
