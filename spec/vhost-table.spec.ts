import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { App } from '../lib/app.ts'
import { type Vhost, VhostTable } from '../lib/vhost-table.ts'
import { eventually } from './support/world.ts'

describe('VhostTable', () => {
  it('gives what a name leads to, and undefined for a name it does not know', () => {
    const { table } = tableOf(10)
    const aries = vhost('aries.test', '/aries')
    table.set(aries)
    assert.equal(table.get('aries.test'), aries)
    assert.equal(table.peek('aries.test'), aries)
    for (const name of ['taurus.test', '__proto__', 'constructor', 'hasownproperty']) {
      assert.equal(table.get(name), undefined, name)
    }
    assert.deepEqual(table.hostnames('/taurus'), [])
  })

  it('knows the names that lead to one real path', () => {
    const { table } = tableOf(10)
    for (const name of ['aries.test', 'www.aries.test']) table.set(vhost(name, '/aries'))
    table.set(vhost('taurus.test', '/taurus'))
    assert.deepEqual(table.hostnames('/aries'), ['aries.test', 'www.aries.test'])
    assert.equal(table.size, 3)
    table.delete('aries.test')
    assert.deepEqual(table.hostnames('/aries'), ['www.aries.test'])
    table.delete('www.aries.test')
    table.delete('www.aries.test')
    assert.deepEqual(table.hostnames('/aries'), [])
  })

  it('follows a name to another real path, and keeps it where it is when it is set again', () => {
    const { table, left } = tableOf(10)
    table.set(vhost('aries.test', '/releases/1'))
    table.set(vhost('aries.test', '/releases/1'))
    assert.deepEqual(table.hostnames('/releases/1'), ['aries.test'])
    const moved = vhost('aries.test', '/releases/2')
    table.set(moved)
    table.set(moved)
    assert.deepEqual(table.hostnames('/releases/1'), [])
    assert.deepEqual(table.hostnames('/releases/2'), ['aries.test'])
    assert.deepEqual(left, [], 'whoever re-points a name knows')
  })

  it('drops the least recently used name when it is full, and says which', () => {
    const { table, left } = tableOf(2)
    table.set(vhost('aries.test', '/aries'))
    table.set(vhost('taurus.test', '/taurus'))
    table.get('aries.test')
    table.set(vhost('virgo.test', '/virgo'))
    assert.deepEqual(left, ['taurus.test'])
    assert.deepEqual(table.hostnames('/taurus'), [])
    table.peek('aries.test')
    table.set(vhost('libra.test', '/libra'))
    assert.deepEqual(left, ['taurus.test', 'aries.test'], 'to peek is no use')
    assert.deepEqual([table.size, table.peek('virgo.test')?.realPath], [2, '/virgo'])
  })

  it('drops one in a hundred at once if it is large', () => {
    const { table, left } = tableOf(300)
    for (let name = 0; name < 300; name++) table.set(vhost(`${name}.test`, `/${name}`))
    table.get('0.test')
    assert.deepEqual([table.size, left], [300, []])
    table.set(vhost('aries.test', '/aries'))
    assert.deepEqual([table.size, left], [298, ['1.test', '2.test', '3.test']])
  })

  it('keeps the last name of a busy app, and exceeds its limit until the next one comes', () => {
    const { table, left } = tableOf(3, '/aries')
    for (const name of ['aries', 'taurus', 'virgo', 'libra']) table.set(vhost(`${name}.test`, `/${name}`))
    assert.deepEqual([table.size, left], [4, []])
    table.set(vhost('leo.test', '/leo'))
    assert.deepEqual([table.size, left], [3, ['taurus.test', 'virgo.test']])
    for (let name = 0; name < 20; name++) table.set(vhost(`${name}.test`, `/${name}`))
    assert.ok(table.peek('aries.test'))
    assert.ok(table.size <= 4)
  })

  it('drops other names of a busy app', () => {
    const { table, left } = tableOf(2, '/aries')
    for (const name of ['aries.test', 'www.aries.test']) table.set(vhost(name, '/aries'))
    table.set(vhost('taurus.test', '/taurus'))
    assert.deepEqual(left, ['aries.test'])
    assert.ok(table.peek('www.aries.test'))
  })

  it('forgets the app of each name that leads to a real path', () => {
    const { table } = tableOf(10)
    const app = {} as App
    for (const name of ['aries.test', 'www.aries.test']) table.set({ ...vhost(name, '/aries'), app })
    table.set({ ...vhost('taurus.test', '/taurus'), app })
    table.forgetApp('/aries')
    table.forgetApp('/virgo')
    const apps = ['aries.test', 'www.aries.test', 'taurus.test'].map(name => table.peek(name)?.app)
    assert.deepEqual(apps, [undefined, undefined, app])
  })

  it('keeps a hundred names of one release, among them the first, and drops the least recently used of the others', () => {
    const { table, left } = tableOf(1000)
    table.set(vhost('taurus.test', '/taurus'))
    for (let i = 0; i < 102; i++) table.set(vhost(`${i}.aries.test`, '/aries'))
    assert.deepEqual(left, ['1.aries.test', '2.aries.test'])
    assert.equal(table.peek('1.aries.test'), undefined)
    assert.equal(table.hostnames('/aries').length, 100)
    assert.equal(table.hostnames('/aries')[0], '0.aries.test')
    table.set(vhost('3.aries.test', '/aries'))
    table.set(vhost('102.aries.test', '/aries'))
    assert.deepEqual(left.slice(2), ['4.aries.test'], 'entered anew, a name is the last')
    table.get('5.aries.test')
    table.peek('6.aries.test')
    for (const name of ['103', '104']) table.set(vhost(`${name}.aries.test`, '/aries'))
    assert.deepEqual(left.slice(3), ['6.aries.test', '7.aries.test'])
    assert.deepEqual(table.hostnames('/taurus'), ['taurus.test'])
  })

  it('makes room now and then for another name of a release that has a hundred', async () => {
    const { table } = tableOf(1000)
    const enter = (name: number): void => table.set(vhost(`${name}.aries.test`, '/aries'))
    for (let name = 0; name < 100; name++) {
      assert.equal(table.hasRoomFor(vhost('www.aries.test', '/aries')), true)
      enter(name)
    }
    assert.equal(table.hasRoomFor(vhost('www.aries.test', '/aries')), true, 'the first that one gives way to')
    enter(100)
    assert.deepEqual(
      [
        table.hasRoomFor(vhost('www.aries.test', '/aries')),
        table.hasRoomFor(vhost('www.taurus.test', '/taurus')),
      ],
      [false, true],
    )
    await eventually(() => table.hasRoomFor(vhost('www.aries.test', '/aries')))
    enter(101)
    assert.equal(table.hasRoomFor(vhost('www.aries.test', '/aries')), false)
    table.delete('101.aries.test')
    assert.equal(table.hasRoomFor(vhost('www.aries.test', '/aries')), true)
  })

  it('keeps one name of each wildcard, however many lead to the release', () => {
    const { table, left } = tableOf(1000)
    const of = (wildcard: string, name: string): Vhost => ({
      ...vhost(`${name}.${wildcard}`, '/any'),
      vhostPath: `/var/www/.any.${wildcard}`,
      isExact: false,
    })
    table.set(of('aries.test', 'first'))
    for (let name = 0; name < 100; name++) table.set(of('taurus.test', `${name}`))
    assert.deepEqual(left, ['0.taurus.test'])
    assert.equal(table.hasRoomFor(of('aries.test', 'second')), false)
    assert.equal(table.hasRoomFor(of('virgo.test', 'first')), true)
    for (let wildcard = 0; wildcard < 100; wildcard++) table.set(of(`${wildcard}.test`, 'first'))
    assert.equal(table.hostnames('/any').length, 102)
    assert.equal(table.sharing('/var/www/.any.aries.test')?.hostname, 'first.aries.test')
    table.set(of('aries.test', 'second'))
    assert.equal(left.at(-1), 'first.aries.test')
    table.set(vhost('leo.test', '/any'))
    assert.ok(table.peek('leo.test'))
  })

  it('gives what was last read of a release, not what one of its names will lead to', () => {
    const { table } = tableOf(10)
    const lastRead = { realPath: '/aries', version: 1, entry: undefined, entryStamp: undefined }
    table.set({ ...vhost('aries.test', '/aries'), lastRead })
    table.set({ ...vhost('taurus.test', '/taurus'), lastRead })
    const read = ['/aries', '/taurus', '/virgo'].map(path => table.lastRead(path))
    assert.deepEqual(read, [lastRead, undefined, undefined])
    const own = { ...lastRead, realPath: '/taurus' }
    table.set({ ...vhost('leo.test', '/taurus'), lastRead: own })
    assert.equal(table.lastRead('/taurus'), own)
  })

  it('gives the latest name that was led to a folder which it shares with others', () => {
    const { table } = tableOf(10)
    const vhostPath = '/var/www/.any'
    const shared = (name: string, readAt: number) =>
      table.set({ ...vhost(name, '/any'), vhostPath, isExact: false, readAt })
    shared('leo.test', 1)
    for (const name of ['aries.test', 'taurus.test']) shared(name, 2)
    table.set(vhost('virgo.test', '/virgo'))
    assert.equal(table.sharing(vhostPath)?.hostname, 'aries.test')
    table.delete('aries.test')
    assert.equal(table.sharing(vhostPath)?.hostname, 'taurus.test')
    for (const name of ['taurus.test', 'leo.test']) table.delete(name)
    assert.equal(table.sharing(vhostPath), undefined)
    assert.equal(table.sharing(vhost('virgo.test', '/virgo').vhostPath), undefined)
  })

  it('says nothing of a deleted name', () => {
    const { table, left } = tableOf(2)
    table.set(vhost('aries.test', '/aries'))
    table.delete('aries.test')
    table.delete('taurus.test')
    assert.deepEqual(left, [])
  })

  it('gives lists that later changes do not affect', () => {
    const { table } = tableOf(10)
    table.set(vhost('aries.test', '/aries'))
    const before = table.hostnames('/aries')
    table.set(vhost('www.aries.test', '/aries'))
    assert.deepEqual(before, ['aries.test'])
  })
})

function tableOf(max: number, busy?: string): { table: VhostTable; left: string[] } {
  const left: string[] = []
  const table = new VhostTable(
    max,
    realPath => realPath === busy,
    ({ hostname }) => left.push(hostname),
  )
  return { table, left }
}

function vhost(hostname: string, realPath: string): Vhost {
  return {
    hostname,
    vhostPath: `/var/www/${hostname}`,
    realPath,
    identity: '1:1',
    isExact: true,
    isFirstChoice: true,
    captures: [],
    readAt: 0,
    usedAt: 0,
    lastRead: undefined,
    absence: undefined,
    fault: undefined,
    info: undefined,
    spelling: '',
    app: undefined,
  }
}
