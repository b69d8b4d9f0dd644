import { userInfo } from 'node:os'

/** Gives up being root for good; `HOME` and `USER` become the owner's. Throws where that cannot be had. */
export function becomeOwner({ uid, gid }: { uid: number; gid: number }): void {
  const { setgroups, setgid, setuid, initgroups } = process as typeof process & {
    initgroups?(user: number, extraGroup: number): void
  }
  if (!setgroups || !setgid || !setuid || !initgroups) throw new Error('this platform has no users')
  setgroups([])
  setgid(gid)
  try {
    initgroups(uid, gid)
  } catch {
    // The owner has no name here, so no further groups either.
  }
  setuid(uid)
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) throw new Error('the user did not change')
  try {
    const { homedir, username } = userInfo()
    process.env.HOME = homedir
    process.env.USER = process.env.LOGNAME = username
  } catch {
    delete process.env.HOME
  }
}
