/**
 * Imports a module of `lib` anew, as if this were the given platform: for modules that look at the platform only once.
 */
export async function importOn<T>(platform: NodeJS.Platform, module: string): Promise<T> {
  const real = process.platform
  Object.defineProperty(process, 'platform', { value: platform })
  try {
    const url = new URL(`../../lib/${module}?${platform}`, import.meta.url)
    return await import(url.href)
  } finally {
    Object.defineProperty(process, 'platform', { value: real })
  }
}
