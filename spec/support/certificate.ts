import { generate } from 'selfsigned'

export interface Pair {
  readonly key: string
  readonly cert: string
}

/** A new key and certificate for these names. */
export async function issue(
  names: readonly string[],
  { passphrase, keyType = 'ec' }: { passphrase?: string; keyType?: 'ec' | 'rsa' } = {},
): Promise<Pair> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: names[0] ?? '' }], {
    keyType,
    ...(passphrase !== undefined && { passphrase }),
    extensions: [{ name: 'subjectAltName', altNames: names.map(value => ({ type: 2, value })) }],
  })
  return { key, cert }
}
