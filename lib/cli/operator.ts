import type { IncomingMessage } from 'node:http'
import { isSecretEqual } from '../values/is-secret-equal.ts'

/** The user of the status page. */
export const OPERATOR = 'operator'
/** The variable that holds that user's password: on the command line, every process of the machine could read it. */
export const PASSWORD_VARIABLE = 'EXPRESS_VAN_STATUS_PASSWORD'

/** Returns a check whether a request is the operator's; undefined if no password is set. */
export function takeOperator(): ((req: IncomingMessage) => boolean) | undefined {
  const password = process.env[PASSWORD_VARIABLE]
  delete process.env[PASSWORD_VARIABLE]
  if (!password) return undefined
  return ({ headers }) => isSecretEqual(credentialsOf(headers.authorization), `${OPERATOR}:${password}`)
}

/** User and password, as RFC 7617 encodes them; empty if there are none. */
function credentialsOf(authorization = ''): Buffer {
  const [, encoded = ''] = /^basic +([\w+/=-]+)$/i.exec(authorization) ?? []
  return Buffer.from(encoded, 'base64')
}
