/** An element with a class and a text; a text is never HTML. */
function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  if (className) made.className = className
  if (text) made.textContent = printable(text)
  return made
}

function setText(node: HTMLElement, text: string): void {
  const shown = printable(text)
  if (node.textContent !== shown) node.textContent = shown
}

function setTitle(node: HTMLElement, text: string): void {
  const title = printable(text)
  if (node.title !== title) node.title = title
}

/** Cleans text as the command line does, by the same function. */
declare function printable(text: string): string
