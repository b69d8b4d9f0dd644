import assert from 'node:assert/strict'
import { chownSync, lchownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { expectOwnLinks } from '../../lib/vhost-path/owned-links.ts'

const TENANT = 7701
const OTHER = 7702
const isRoot = process.getuid?.() === 0

describe('expectOwnLinks()', { skip: isRoot ? false : 'needs root' }, () => {
  let base: string
  const at = (path: string): string => join(base, path)

  function link(target: string, path: string, owner: number): void {
    symlinkSync(target, at(path))
    lchownSync(at(path), owner, owner)
  }

  async function check(path: string, leadsTo = path): Promise<void> {
    await expectOwnLinks(at(path), { realPath: at(leadsTo), uid: OTHER }, base)
  }

  beforeEach(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-links-')))
    mkdirSync(at('home/1'), { recursive: true })
    for (const folder of ['home', 'home/1']) chownSync(at(folder), OTHER, OTHER)
  })

  afterEach(() => rmSync(base, { recursive: true }))

  it('accepts what is no link, and links of the owner, of root and of the owner of the base path', async () => {
    await check('home/1')
    for (const owner of [OTHER, 0]) {
      link('home/1', `${owner}.test`, owner)
      await check(`${owner}.test`, 'home/1')
    }
    chownSync(base, TENANT, TENANT)
    link(at('home'), 'of-base', TENANT)
    await check('of-base/1', 'home/1')
  })

  it('follows chains, absolute and relative links, and links that lead upwards', async () => {
    link('home', 'first', OTHER)
    link(at('first'), 'second', 0)
    link('../second/1', 'home/third', OTHER)
    await check('second/third', 'home/1')
  })

  const refused: [what: string, path: string, prepare: () => void][] = [
    ['a link of somebody else', 'evil.test', () => link('home/1', 'evil.test', TENANT)],
    [
      'one in the midst of the way',
      'evil.test/1',
      () => {
        link('home', 'home-of-evil', TENANT)
        link('home-of-evil', 'evil.test', 0)
      },
    ],
    [
      'one behind another',
      'good.test',
      () => {
        link('evil.test', 'good.test', OTHER)
        link('home/1', 'evil.test', TENANT)
      },
    ],
    ['a circle', 'circle', () => link('circle', 'circle', 0)],
    ['what leads elsewhere by now', 'elsewhere', () => link('home', 'elsewhere', OTHER)],
  ]
  for (const [what, path, prepare] of refused) {
    it(`refuses ${what}`, async () => {
      prepare()
      await assert.rejects(check(path, 'home/1'), { code: 'EACCES' })
    })
  }
})
