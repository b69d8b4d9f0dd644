/** An error that concerns a host. Its message may already begin with the host. */
export function withCause(
  host: string,
  { message, cause }: { readonly message: string; readonly cause?: string | null },
): string {
  const named = message.startsWith(`${host}: `) ? message : `${host}: ${message}`
  return cause ? `${named}: ${cause}` : named
}
