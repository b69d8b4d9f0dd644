import { userInfo } from 'node:os'
import type { Owner } from '../launch/owner.ts'

/**
 * Gives up being root for good; `HOME`, `USER` and `LOGNAME` become the owner's where nobody has said what they are.
 * @throws Error where that cannot be had
 */
export function becomeOwner({ uid, gid }: Owner): void {
  const { setgroups, setgid, setuid } = process
  if (!setgroups || !setgid || !setuid) throw new Error('this platform has no users')
  // Nor those that the owner is in: by one of them, such as that of the logs, a customer may read what is others'.
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
    // A user without an entry in the list of users has none.
  }
}
