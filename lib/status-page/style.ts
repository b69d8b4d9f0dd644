/** Words repeat what colours mean: nothing depends on colour alone. */
export const STYLE: string = `
:root { color-scheme: light dark; --text: #1c2024; --dim: #5b636c; --back: #f6f7f8; --card: #fff; --line: #d8dce0; --control: #858d96;
  --link: #0b57a4; --good: #11633a; --busy: #6b4a00; --bad: #a51d1d }
@media screen and (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --dim: #a4adb6; --back: #14171a; --card: #1d2125;
  --line: #363c42; --control: #79828b; --link: #84bdf5; --good: #7fd6a2; --busy: #e9c46a; --bad: #ff9c94 } }
* { box-sizing: border-box }
[hidden] { display: none !important }
body { margin: 0 auto; max-width: 100rem; padding: 0 1rem 3rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem 1rem; padding: .8rem 0 }
h1 { font-size: 1.4rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem }
p { margin: 0 }
a { color: var(--link) }
nav { margin-left: auto; display: flex; gap: 1rem }
nav a { padding: .2rem 0 }
#count, #deploys-count, #empty, .dim { color: var(--dim) }
#deploys-count { font-weight: normal }
#empty { padding: .6rem }
#connection:is(.serving, .error)::before { content: "● " / "" }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
#totals { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.4rem, 1fr)); gap: .5rem; margin: 0 }
#totals div { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .3rem .6rem }
dt { color: var(--dim); font-size: 12px }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
#totals dd { font-size: 1.1rem; line-height: 1.3 }
.tools, form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin-bottom: .5rem }
.pages { margin-left: auto }
input, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--control); border-radius: 6px;
  padding: .2rem .6rem; min-height: 2rem }
input { width: 20rem; max-width: 60vw; margin-left: .3rem }
::placeholder { color: var(--dim); opacity: 1 }
button { cursor: pointer }
button:hover:not([aria-disabled=true]) { border-color: var(--link) }
button[aria-disabled=true] { cursor: default; color: var(--dim); border-color: var(--line) }
@media (forced-colors: active) { button[aria-disabled=true] { color: GrayText; border-color: GrayText } }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
.scroll:focus-visible { outline-offset: -2px }
.scroll { overflow: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px }
table { border-collapse: collapse; width: 100%; font-size: 13px }
th, td { text-align: left; padding: .1rem .35rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-weight: normal; vertical-align: middle }
tbody tr:last-child > * { border-bottom: 0 }
tbody tr:not(.details):hover > * { background: var(--back) }
thead th { color: var(--dim) }
th button, .name { border: 0; background: none; padding: 0; min-height: 1.7rem; text-align: left }
th:first-child, td:first-child { padding-left: .6rem }
th:last-child, td:last-child { padding-right: .6rem }
.name { display: block; max-width: 15rem; overflow: hidden; text-overflow: ellipsis; color: var(--link); font-weight: 600 }
.name:hover { text-decoration: underline }
.name::before { content: "▸ " / ""; color: var(--dim); font-weight: normal }
.name[aria-expanded=true]::before { content: "▾ " / "" }
[aria-sort=ascending] button::after { content: " ▲" / "" }
[aria-sort=descending] button::after { content: " ▼" / "" }
.number { text-align: right; font-variant-numeric: tabular-nums }
.number button { text-align: right }
.serving { color: var(--good) }
.loading, .draining, .evicted { color: var(--busy) }
.failed, .older, .error { color: var(--bad); font-weight: 600 }
td.state, td.release { max-width: 14rem; overflow: hidden; text-overflow: ellipsis }
td.release { max-width: 8rem }
td.state::before { content: "● " / "" }
.details td { white-space: normal; background: var(--back); padding: .5rem }
.details td > div { position: sticky; left: .5rem; width: min(97rem, 100vw - 3.2rem); overflow-wrap: anywhere }
.details dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .4rem 1rem; margin: .5rem 0 }
.details .places { display: block }
.places div { display: flex; gap: 0 1rem; flex-wrap: wrap }
.places dt { width: 5.5rem }
.places dd { flex: 1 1 12rem }
figure { margin: .5rem 0 }
#steps th { vertical-align: top; color: var(--dim) }
#steps td { white-space: normal; overflow-wrap: anywhere; width: 100% }
pre { margin: .4rem 0; padding: .6rem; overflow: auto; max-height: 20rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; font-size: 12.5px; line-height: 1.4 }
svg { display: block; overflow: visible }
polyline { fill: none; stroke: var(--link); stroke-width: 1.5; vector-effect: non-scaling-stroke }
#deploys { list-style: none; margin: 0; padding: 0 .6rem; max-height: 30rem; font-size: 13px }
#deploys > li { display: grid; grid-template-columns: 9.5rem 4.5rem minmax(0, 16rem) minmax(0, 1fr); gap: 0 .5rem;
  padding: .25rem 0; overflow-wrap: anywhere }
#deploys > li + li { border-top: 1px solid var(--line) }
#deploys:empty { border: 0; background: none; color: var(--dim) }
#deploys:empty::before { content: "None yet." }
summary { cursor: pointer }
summary::before { content: "▸ " / ""; color: var(--dim) }
[open] > summary::before { content: "▾ " / "" }
.short { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden }
[open] > .short { display: block }
time { color: var(--dim); font-variant-numeric: tabular-nums }
@media (max-width: 40rem) {
  .wide { display: none }
  .name { max-width: 9.5rem }
  td.state { max-width: 8.5rem }
  #deploys > li { grid-template-columns: 9.5rem 1fr }
  #deploys > li > :nth-child(n + 3) { grid-column: 1 / -1 }
}
@media print {
  :root { color-scheme: light }
  nav, .tools, form, section:has(> #explanation[hidden]), .wide, .details button { display: none }
  thead { display: table-row-group }
  .scroll, pre { overflow: visible; max-height: none !important }
  pre { white-space: pre-wrap; overflow-wrap: anywhere }
  .name, td.state { max-width: none; white-space: normal; overflow-wrap: anywhere }
  .name { min-width: 15rem }
  tr:not(.details), #deploys > li { break-inside: avoid }
}
`
