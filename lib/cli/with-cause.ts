/** An error as it concerns a host, which its message may begin with already. */
export function withCause(
  host: string,
  { message, cause }: { readonly message: string; readonly cause?: string | null },
): string {
  const named = message.startsWith(`${host}: `) ? message : `${host}: ${message}`
  return cause ? `${named}: ${cause}` : named
}
