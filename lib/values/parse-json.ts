/** Parses the text of a `package.json`, which some editors begin with a byte order mark. Node and npm skip it, too. */
export function parseJson(text: string): ReturnType<typeof JSON.parse> {
  return JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
}
