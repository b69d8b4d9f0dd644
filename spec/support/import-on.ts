/** Imports a module of `lib` anew, as one that asks for the platform once would be on this one. */
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
