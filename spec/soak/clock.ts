/** Milliseconds on the machine's monotonic clock, which is the same in every process on Linux. */
export function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
