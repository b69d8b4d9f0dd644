/** The error that a bad option, or a bad value of one, is refused with. */
export function optionError(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_VHOST_OPTION' })
}
