import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { lastLines, readLines } from '../../lib/launch/output-lines.ts'
import { eventually } from '../support/world.ts'

async function linesOf(chunks: readonly Buffer[], longest = 1000): Promise<string[]> {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, longest, line => lines.push(line))
  for (const chunk of chunks) stream.write(chunk)
  stream.end()
  await lastLines([stream])
  return lines
}

describe('readLines', () => {
  it('passes on each line, and a last one without a line end', async () => {
    assert.deepEqual(await linesOf([Buffer.from('one\r\ntwo\n\nthree')]), ['one', 'two', '', 'three'])
    assert.deepEqual(await linesOf([Buffer.from('one\n')]), ['one'])
    assert.deepEqual(await linesOf([]), [])
  })

  it('gives the same lines wherever chunks are split, even within a character', async () => {
    const text = 'ä€😀\nzwei\n\nlast'
    const bytes = Buffer.from(text)
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: bytes.length - 1 }))
    await fc.assert(
      fc.asyncProperty(cuts, async places => {
        const edges = [0, ...places.sort((a, b) => a - b), bytes.length]
        const chunks = edges.slice(1).map((end, at) => bytes.subarray(edges[at], end))
        assert.deepEqual(await linesOf(chunks), text.split('\n'))
      }),
    )
  })

  it('passes on in parts what is too long', async () => {
    const chunks = Array.from({ length: 25 }, () => Buffer.from('x'.repeat(10)))
    assert.deepEqual(
      (await linesOf(chunks, 100)).map(line => line.length),
      [100, 100, 50],
    )
  })

  it('goes on in another turn after a number of lines, and loses none', async () => {
    const wanted = Array.from({ length: 1000 }, (_, n) => `line ${n} ä`)
    const stream = new PassThrough()
    const lines: string[] = []
    let turns = 0
    const room = async (): Promise<void> => {
      turns++
      await nextTurn()
    }
    readLines(stream, 1000, line => lines.push(line), room)
    const ended = once(stream, 'end')
    stream.write(wanted.slice(0, 500).join('\n'))
    stream.end(`\n${wanted.slice(500).join('\n')}`)
    await ended
    assert.deepEqual(lines, wanted)
    assert.equal(turns, 14)
  })

  for (const [what, text] of [
    ['many lines', 'x\n'.repeat(50_000)],
    ['long lines', `${'x'.repeat(999)}\n`.repeat(100)],
    ['a line without end', 'x'.repeat(100_000)],
  ] as const) {
    it(`stops reading ${what} while there is no room to write`, async () => {
      const stream = new PassThrough()
      let told = 0
      let goOn = (): void => {}
      const room = (): Promise<void> =>
        new Promise(resolve => {
          goOn = resolve
        })
      readLines(stream, 1000, () => told++, room)
      for (let at = 0; at < text.length; at += 1000) stream.write(text.slice(at, at + 1000))
      await eventually(() => told > 0)
      for (let turn = 0; turn < 10; turn++) await nextTurn()
      const before = told
      assert.ok(before <= 64, `${before}`)
      assert.ok(stream.isPaused())
      goOn()
      await eventually(() => told > before)
    })
  }
})

describe('lastLines', () => {
  it('gets all remaining lines, however many, whether or not there is room to write', async () => {
    const stream = new PassThrough()
    const lines: string[] = []
    readLines(
      stream,
      1000,
      line => lines.push(line),
      () => new Promise(() => {}),
    )
    stream.write('x\n'.repeat(1000))
    await eventually(() => lines.length > 0)
    await lastLines([stream])
    assert.equal(lines.length, 1000)
  })

  it('does not wait for a stream that is held open, once its content is read', async () => {
    const start = performance.now()
    await lastLines([new PassThrough()])
    const waited = performance.now() - start
    assert.ok(waited < 500, `${waited} ms`)
  })

  it('gets everything that a program wrote, even if a child holds its output open and this process was busy', async () => {
    for (let time = 0; time < 10; time++) {
      const program = `sleep 30 & head -c 100000 /dev/zero | tr '\\0' x; echo; echo last`
      const child = spawn('/bin/sh', ['-c', program], {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
      })
      const lines: string[] = []
      readLines(child.stdout, 200_000, line => lines.push(line))
      const exited = once(child, 'exit')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      await exited
      await lastLines([child.stdout])
      process.kill(-(child.pid as number), 'SIGKILL')
      assert.deepEqual(
        lines.map(({ length }) => length),
        [100_000, 4],
      )
    }
  })
})
