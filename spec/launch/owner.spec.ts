import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { ownerOf } from '../../lib/launch/owner.ts'

const TENANT = 7701
const OTHER = 7702
const isRoot = process.getuid?.() === 0

describe('ownerOf()', { skip: isRoot ? false : 'needs root' }, () => {
  let base: string
  const at = (path: string): string => join(base, path)

  function file(path: string, owner: number): string {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), '')
    for (let part = path; part !== '.'; part = dirname(part)) chownSync(at(part), owner, owner)
    return at(path)
  }

  beforeEach(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-owner-')))
  })

  afterEach(() => rmSync(base, { recursive: true }))

  it('is the user to whom the release folder and every step from the base path belong', async () => {
    const entry = file('aries.test/releases/1/app/index.js', TENANT)
    assert.deepEqual(await ownerOf(at('aries.test/releases/1'), entry, base), { uid: TENANT, gid: TENANT })
  })

  it('lets root, and the owner of the base path, own the way to it', async () => {
    const entry = file('aries.test/releases/1/app/index.js', TENANT)
    chownSync(base, OTHER, OTHER)
    chownSync(at('aries.test'), 0, 0)
    chownSync(at('aries.test/releases'), OTHER, OTHER)
    chownSync(at('aries.test/releases/1/app'), 0, 0)
    assert.equal((await ownerOf(at('aries.test/releases/1'), entry, base)).uid, TENANT)
  })

  it('is found if the base path is a link, and if the release lies elsewhere', async () => {
    const entry = file('www/aries.test/app/index.js', TENANT)
    chownSync(at('www'), 0, 0)
    symlinkSync('www', at('link'))
    assert.equal((await ownerOf(at('www/aries.test'), entry, at('link'))).uid, TENANT)
    mkdirSync(at('elsewhere'))
    chmodSync(at('www'), 0o1777)
    assert.equal((await ownerOf(at('www/aries.test'), entry, at('elsewhere'))).uid, TENANT)
  })

  const refused: [what: string, change: () => void, says: RegExp][] = [
    ['a folder of root\u2019s', () => chownSync(at('aries.test/1'), 0, TENANT), /belongs to root/],
    ['a folder of the group of root', () => chownSync(at('aries.test/1'), TENANT, 0), /belongs to root/],
    ['a folder above of another user', () => chownSync(at('aries.test'), OTHER, OTHER), /of another user/],
    [
      'an app folder of another user',
      () => chownSync(at('aries.test/1/app'), OTHER, OTHER),
      /of another user/,
    ],
    [
      'an entry of another user',
      () => chownSync(at('aries.test/1/app/index.js'), OTHER, OTHER),
      /of another user/,
    ],
    ['a folder above that anybody may write', () => chmodSync(at('aries.test'), 0o777), /by anybody/],
    [
      'an app folder that anybody may write, sticky or not',
      () => chmodSync(at('aries.test/1/app'), 0o1777),
      /by anybody/,
    ],
    [
      'an entry that anybody may write',
      () => chmodSync(at('aries.test/1/app/index.js'), 0o666),
      /by anybody/,
    ],
    [
      'a link that leads to one of the owner\u2019s',
      () => {
        file('leo.test/1/app/index.js', OTHER)
        rmSync(at('aries.test/1'), { recursive: true })
        symlinkSync(at('leo.test/1'), at('aries.test/1'))
        lchownSync(at('aries.test/1'), TENANT, TENANT)
      },
      /of another user|by anybody/,
    ],
  ]
  for (const [what, change, says] of refused) {
    it(`refuses ${what}`, async () => {
      const entry = file('aries.test/1/app/index.js', TENANT)
      change()
      await assert.rejects(ownerOf(at('aries.test/1'), entry, base), {
        code: 'ERR_VHOST_LOAD',
        message: says,
      })
    })
  }
})
