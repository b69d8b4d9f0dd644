import assert from 'node:assert/strict'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { SocketFolder } from '../../lib/launch/socket-folder.ts'

/** The size of `sun_path` without its final byte: unix(7). */
const LONGEST = 107

describe('SocketFolder', () => {
  it('can be entered by nobody else, names each socket once, and is removed with all that is left in it', async () => {
    const folder = new SocketFolder()
    assert.equal(statSync(folder.path).mode & 0o777, 0o700)
    const [one, other] = [folder.next(), folder.next()]
    assert.notEqual(one, other)
    writeFileSync(one, '')
    await folder.release(one)
    // A server that never listened, or removed its socket itself, leaves none.
    await folder.release(other)
    assert.ok(!existsSync(one))
    writeFileSync(other, '')
    folder.close()
    assert.ok(!existsSync(folder.path))
  })

  it('is made again if somebody has removed it, and never uses what was put in its place', () => {
    const folder = new SocketFolder()
    folder.next()
    rmSync(folder.path, { recursive: true })
    writeFileSync(folder.next(), '')
    assert.equal(statSync(folder.path).mode & 0o777, 0o700)
    rmSync(folder.path, { recursive: true })
    symlinkSync(tmpdir(), folder.path)
    assert.throws(() => folder.next(), /something else is in the place/)
    rmSync(folder.path)
    if (process.getuid?.() === 0) {
      mkdirSync(folder.path)
      chownSync(folder.path, 65_534, 65_534)
      assert.throws(() => folder.next(), /something else is in the place/)
    }
    folder.close()
    assert.ok(!existsSync(folder.path))
  })

  it('is elsewhere if the path of the folder for temporary files is too long', () => {
    const before = process.env.TMPDIR
    const base = mkdtempSync(join(tmpdir(), 'express-van-'))
    try {
      for (let length = 10; length <= 80; length++) {
        const long = base + '/'.padEnd(length, 'x')
        mkdirSync(long)
        process.env.TMPDIR = long
        const folder = new SocketFolder()
        for (let time = 0; time < 1000; time++) folder.next()
        const path = folder.next()
        folder.close()
        assert.ok(Buffer.byteLength(path) <= LONGEST, path)
        if (length === 10) assert.ok(path.startsWith(long))
        if (length === 80) assert.ok(!path.startsWith(long))
      }
    } finally {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
      rmSync(base, { recursive: true })
    }
  })
})
