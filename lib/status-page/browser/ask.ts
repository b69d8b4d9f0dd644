/** Asks the server about a host, or to do something with it. @throws Error in words for the operator */
async function ask<Body>(method: string, verb: string, host: string): Promise<{ isOk: boolean; body: Body }> {
  const token = document.querySelector<HTMLMetaElement>('meta[name=status-token]')?.content ?? ''
  const response = await fetch(`${verb}?host=${encodeURIComponent(host)}`, {
    method,
    headers: method === 'POST' ? { 'X-Status-Token': token } : {},
  }).catch(() => undefined)
  if (!response) throw new Error('the server does not answer')
  const body: Body | undefined = await response.json().catch(() => undefined)
  // This answer is not the page's own server side: the user is no longer let in, or a proxy answers.
  if (!body) throw new Error(`the server answers ${response.status}: load the page again`)
  return { isOk: response.ok, body }
}
