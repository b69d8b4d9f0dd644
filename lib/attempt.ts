/** What a look at something that an app made gives; undefined where that throws, as getters and proxies may. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
