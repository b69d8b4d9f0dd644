/** Colours are told by words, too: nothing is said by colour alone. */
export const STYLE: string = `
:root { color-scheme: light dark; --text: #1c2024; --dim: #5b636c; --back: #f6f7f8; --card: #fff; --line: #d8dce0;
  --link: #0b57a4; --good: #11633a; --busy: #6b4a00; --bad: #a51d1d }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --dim: #a4adb6; --back: #14171a; --card: #1d2125;
  --line: #363c42; --link: #84bdf5; --good: #7fd6a2; --busy: #e9c46a; --bad: #ff9c94 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 90rem; padding: 0 1rem 3rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem }
h1 { font-size: 1.4rem; margin: 1rem 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem }
p { margin: 0 }
#connection, #count, .dim { color: var(--dim) }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
#totals { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .5rem; margin: 0 }
#totals div { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .4rem .6rem }
dt { color: var(--dim); font-size: .85rem }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
#totals dd { font-size: 1.2rem }
.tools, form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin-bottom: .5rem }
.pages { margin-left: auto }
input, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .3rem .6rem; min-height: 2rem }
input { width: 15rem; max-width: 60vw }
button { cursor: pointer }
button:disabled { cursor: default; color: var(--dim) }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px }
.scroll:not(:has(table:not([hidden]))) { display: none }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-weight: normal; vertical-align: middle }
thead th { color: var(--dim) }
th button, .name { border: 0; background: none; padding: .2rem 0; min-height: 1.6rem; text-align: left }
.name { color: var(--link); font-weight: 600; text-decoration: underline }
[aria-sort=ascending] button::after { content: " ▲" }
[aria-sort=descending] button::after { content: " ▼" }
.number { text-align: right; font-variant-numeric: tabular-nums }
.serving { color: var(--good) }
.loading, .draining, .evicted { color: var(--busy) }
.failed, .older, .error { color: var(--bad); font-weight: 600 }
td.state { max-width: 22rem; overflow: hidden; text-overflow: ellipsis }
.details td { white-space: normal; background: var(--back) }
.details td > div { position: sticky; left: .6rem; width: min(85rem, 100vw - 4rem); overflow-wrap: anywhere }
.details dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .5rem 1rem; margin: .3rem 0 }
#steps td { white-space: normal; overflow-wrap: anywhere }
pre { margin: .4rem 0; padding: .6rem; overflow: auto; max-height: 20rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; font-size: .85rem }
svg { display: block; overflow: visible }
polyline { fill: none; stroke: var(--link); stroke-width: 1.5; vector-effect: non-scaling-stroke }
#deploys { list-style: none; margin: 0; padding: 0 }
#deploys > li { padding: .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
summary { cursor: pointer }
time { color: var(--dim); font-variant-numeric: tabular-nums }
@media (max-width: 40rem) { .wide { display: none } }
`
