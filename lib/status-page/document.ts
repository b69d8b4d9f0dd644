import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { STYLE } from './style.ts'

/** In the order in which they are joined: each uses those before it. */
const SCRIPTS = ['element', 'chart', 'words', 'ask', 'table', 'details', 'deploys', 'page'].map(
  name => `./browser/${name}.js`,
)
/** Shared by the page and the command line. */
const SHARED = '../values/printable.js'

/** The page, one file that loads no other, and the Content-Security-Policy that lets nothing else run. */
export function makeDocument(title: string, token: string): { html: string; policy: string } {
  const script = [SHARED, ...SCRIPTS]
    .map(path => readFileSync(new URL(path, import.meta.url), 'utf8').replaceAll(/^export /gm, ''))
    .join('\n')
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    `style-src '${hashOf(STYLE)}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ')
  return { html: htmlOf(escapeHtml(title), token, script), policy }
}

function htmlOf(title: string, token: string, script: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="status-token" content="${token}">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p id="connection" role="status">connecting</p>
<nav aria-label="Parts of the page"><a href="#vhosts-title">Vhosts</a> <a href="#why-title">Why</a> <a href="#deploys-title">Deploys</a></nav>
</header>
<main>
<noscript><p>This page needs JavaScript; <a href="status.json">status.json</a> does not.</p></noscript>
<section aria-labelledby="totals-title">
<h2 id="totals-title" class="unseen">Totals</h2>
<dl id="totals"></dl>
</section>
<section aria-labelledby="vhosts-title">
<h2 id="vhosts-title">Vhosts</h2>
<div class="tools">
<label>Filter <input id="filter" type="search" autocomplete="off" spellcheck="false" placeholder="host, state, path, error"></label>
<p id="count" aria-live="off"></p>
<span class="pages"><button id="previous" type="button">Previous</button> <button id="next" type="button">Next</button></span>
</div>
<div class="scroll" role="region" aria-label="Table of vhosts" tabindex="0">
<table id="vhosts"><thead></thead><tbody></tbody></table>
</div>
<p id="empty" hidden></p>
</section>
<section aria-labelledby="why-title">
<h2 id="why-title">Why</h2>
<form id="why">
<label>Host <input id="host" autocomplete="off" spellcheck="false" placeholder="as a client sends it"></label>
<button>Explain</button>
</form>
<div id="explanation" class="scroll" role="region" aria-label="Explanation" tabindex="0" hidden>
<table id="steps" aria-live="polite"><thead><tr><th scope="col">step</th><th scope="col">what</th></tr></thead><tbody></tbody></table>
</div>
</section>
<section aria-labelledby="deploys-title">
<h2 id="deploys-title">Deploys <span id="deploys-count"></span></h2>
<ol id="deploys" class="scroll" role="list" aria-labelledby="deploys-title" tabindex="0"></ol>
</section>
</main>
<script type="module">${script}</script>
</body>
</html>
`
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ENTITIES[character] as string)
}
