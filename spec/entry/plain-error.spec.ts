import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type PlainError, plainError, toError } from '../../lib/entry/plain-error.ts'

describe('plainError', () => {
  const ends = (): never => assert.fail('of the app')
  const circular: Record<string, unknown> = {}
  circular.itself = circular

  for (const [what, error, expected] of [
    ['a BigInt', { code: 1n, status: 418 }, { status: 418 }],
    ['a symbol', { type: Symbol('text'), status: 418 }, { status: 418 }],
    ['a function', { code: ends, status: 418 }, { status: 418 }],
    ['a circle', { headers: circular, status: 418 }, { status: 418 }],
    ['a getter that throws', Object.defineProperty({ status: 418 }, 'code', { get: ends }), { status: 418 }],
    ['a name that is no text', { name: { toString: ends } }, {}],
    ['a message that is no text', { message: Object.create(null) }, {}],
    ['a stack that throws', Object.defineProperty({}, 'stack', { get: ends }), {}],
  ] as const) {
    it(`leaves out ${what}`, () => {
      assert.deepEqual(plainError(error), { name: 'Error', message: '', ...expected })
    })
  }

  it('turns what cannot be made text into an error without a message', () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const nothing = { name: 'Error', message: '' }
    assert.deepEqual(plainError(proxy), nothing)
    assert.deepEqual(plainError(Object.assign(() => {}, { toString: ends })), nothing)
  })

  it('gives the JSON value of a property, which a thread can clone', () => {
    const headers = { Allow: 'GET', of: ends, toJSON: () => ({ Allow: 'GET' }) }
    assert.deepEqual(plainError({ headers }), { name: 'Error', message: '', headers: { Allow: 'GET' } })
  })
})

describe('toError', () => {
  it('restores what plainError() was given, with what Express looks for', () => {
    const thrown = Object.assign(new TypeError('boom'), {
      code: 'E_BOOM',
      status: 418,
      expose: true,
      secret: 1,
    })
    const { name, message, stack, ...own } = toError(plainError(thrown)) as Error & Record<string, unknown>
    assert.deepEqual(
      { name, message, stack, ...own },
      { name: 'TypeError', message: 'boom', stack: thrown.stack, code: 'E_BOOM', status: 418, expose: true },
    )
  })

  it('cuts what is too long: an app may write to the channel itself', () => {
    const long = 'x'.repeat(1_000_000)
    const error = toError({ name: long, message: long, stack: long, code: long, headers: { a: long } })
    for (const text of [error.name, error.message, error.stack]) assert.equal(text?.length, 4002)
    assert.deepEqual(Object.keys(error), [])
  })

  it('adds no property that errors do not have', () => {
    const made = JSON.parse('{"name":"Error","message":"m","__proto__":{"status":200},"toString":1}')
    const error = toError(made as PlainError)
    assert.equal(Object.getPrototypeOf(error), Error.prototype)
    assert.equal(String(error), 'Error: m')
  })

  it('accepts only a valid status and valid headers: Express sets them where nobody catches an error', () => {
    const headers = {
      'retry-after': 5,
      'www-authenticate': ['Basic', 'Bearer'],
      'x-broken': 'a\nb',
      'no name': 'x',
      'x-deep': { of: 1 },
      'Transfer-Encoding': 'chunked',
      'content-length': '3',
    }
    const fit = { 'retry-after': 5, 'www-authenticate': ['Basic', 'Bearer'] }
    const of = (made: object): object => ({
      ...toError({ name: 'Error', message: 'm', ...made } as PlainError),
    })
    assert.deepEqual(of({ status: 429, headers }), { status: 429, headers: fit })
    for (const status of [101, 1000, 404.5, '404']) assert.deepEqual(of({ status, statusCode: status }), {})
    assert.deepEqual(of({ headers: 'text' }), {})
  })
})
