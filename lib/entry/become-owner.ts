import { userInfo } from 'node:os'
import type { Owner } from '../launch/owner.ts'

/**
 * Gives up being root for good. `HOME`, `USER` and `LOGNAME` become the owner's unless they are already set.
 * @throws Error if the process cannot change its user
 */
export function becomeOwner({ uid, gid }: Owner): void {
  const { setgroups, setgid, setuid } = process
  if (!setgroups || !setgid || !setuid) throw new Error('this platform has no users')
  // Not even the owner's own groups: through one of them, such as that of the logs, a customer could read what belongs
  // to others.
  setgroups([])
  setgid(gid)
  setuid(uid)
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) throw new Error('the user did not change')
  try {
    const { homedir, username } = userInfo()
    process.env.HOME ??= homedir
    process.env.USER ??= username
    process.env.LOGNAME ??= username
  } catch {
    // A user without an entry in the list of users has no home or name.
  }
}
