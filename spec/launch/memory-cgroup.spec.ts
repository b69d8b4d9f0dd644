import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MemoryCgroups, parentCgroups } from '../../lib/launch/memory-cgroup.ts'

const FIRST =
  'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n'
const SECOND = 'proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n'

describe('parentCgroups', () => {
  it('with version 1 is the cgroup of the process', () => {
    assert.deepEqual(parentCgroups('9:name=systemd:/\n4:memory:/site\n1:cpu:/other\n', FIRST), [
      { folder: '/sys/fs/cgroup/memory/site', limitFile: 'memory.limit_in_bytes' },
    ])
  })

  it('with version 2 is the parent cgroup if that was delegated', () => {
    assert.deepEqual(parentCgroups('0::/system.slice/sites.service/router\n', SECOND), [
      { folder: '/sys/fs/cgroup/system.slice/sites.service', limitFile: 'memory.max' },
    ])
  })

  for (const path of ['/', '/system.slice/sites.service', '/user.slice/session-1.scope', '/system.slice']) {
    it(`with version 2 is none in ${path}, if the parent does not belong to the process`, () => {
      assert.deepEqual(parentCgroups(`0::${path}\n`, SECOND), [])
    })
  }

  it('is none if there are no cgroups', () => {
    assert.deepEqual(parentCgroups('', ''), [])
    assert.deepEqual(parentCgroups('0::/sites/router\n', 'proc /proc proc rw 0 0\n'), [])
  })
})

describe('MemoryCgroups', () => {
  it('limit nothing, and report nothing, if the process may not make any', async () => {
    // No process has this id.
    assert.equal(await new MemoryCgroups().limit(2 ** 22 + 1, 2 ** 30), undefined)
  })
})
