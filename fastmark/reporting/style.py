"""The style of a report's page: inline, light and dark, for narrow screens and for paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f6f5f1; --card: #ffffff; --ink: #1a1c20; --soft: #555a63; --line: #d9d7cf;
  --accent: #0b4f8f; --first: #0b4f8f; --second: #86b4e0; --track: #e9e7df; --claim: #9c4a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --card: #1b1e23; --ink: #eceae5; --soft: #a9adb5; --line: #33373e;
    --accent: #8cc2f7; --first: #8cc2f7; --second: #3a6693; --track: #2b2f36; --claim: #f2bf70;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html {
  font: 100%/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  background: var(--paper); color: var(--ink); text-size-adjust: 100%;
}
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; max-width: 74rem; overflow-wrap: anywhere;
}
h1, h2, h3, p, ul, dl, dd, figure { margin: 0; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(1.75rem, 1.1rem + 2.6vw, 2.75rem); letter-spacing: -.02em; }
h2 { font-size: 1.4rem; letter-spacing: -.01em; margin-block: 3rem .75rem; }
h3 { font-size: 1.05rem; margin-block: 1.75rem .5rem; }
p, li { max-width: 46rem; }
p + p, .scroll + p, ul + p { margin-top: .75rem; }
ul { padding-inline-start: 1.2rem; }
a { color: var(--accent); text-underline-offset: .18em; }
:focus-visible { outline: .1875rem solid var(--accent); outline-offset: .125rem; border-radius: .25rem; }
.soft, caption, figcaption { color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
nav { margin-block: 1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; }
.cards { margin-top: 1.25rem; }
.cards > div, .facts, figure {
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem;
}
.cards dt { color: var(--soft); font-size: .925rem; }
.cards dd { font-size: 1.7rem; font-weight: 650; line-height: 1.25; letter-spacing: -.01em; }
.cards dd + dd { font-size: .925rem; font-weight: 400; letter-spacing: 0; color: var(--soft); }
.facts { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.5rem; }
.facts dt { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem;
  margin-block: 1rem; }
.charts figure { max-width: 34rem; }
figcaption { font-size: .925rem; margin-bottom: .5rem; }
.scroll { overflow-x: auto; margin-block: .75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; font-variant-numeric: tabular-nums; }
caption { text-align: start; padding: .75rem .75rem .25rem; }
caption span {
  display: inline-block; position: sticky; inset-inline-start: .75rem; max-width: calc(100vw - 4rem);
}
th, td { padding: .4rem .75rem; text-align: start; vertical-align: top; overflow-wrap: normal; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
tbody th { font-weight: 400; min-width: 10rem; }
thead .wide, thead th:first-child { white-space: nowrap; }
tbody th[colspan] { font-weight: 650; padding-top: 1rem; }
.n { text-align: end; white-space: nowrap; }
thead .n { white-space: normal; }
.of { display: block; font-size: .85em; color: var(--soft); }
.one { white-space: nowrap; }
.wide { min-width: 14rem; }
.name { overflow-wrap: anywhere; min-width: 11rem; }
td .bar { margin-top: .3rem; }
.bar { display: block; width: 100%; min-width: 6rem; height: 1rem; }
.chart { display: block; width: 100%; height: auto; font-size: 12px; }
.chart text { fill: var(--soft); }
.track { fill: var(--track); }
.first { fill: var(--first); }
.second { fill: var(--second); }
.whisker { stroke: var(--soft); fill: none; vector-effect: non-scaling-stroke; stroke-width: 1.5; }
.upper { stroke: var(--first); fill: none; stroke-width: 1.5; }
.claim { stroke: var(--claim); fill: none; stroke-width: 1.5; stroke-dasharray: 5 4; }
.grid { stroke: var(--line); fill: none; }
summary { cursor: pointer; padding-block: .5rem; color: var(--accent); }
.note { border-inline-start: .25rem solid var(--accent); padding: .25rem 0 .25rem 1rem; }
@media (max-width: 30rem) {
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd + dt { margin-top: .6rem; }
  }
@media print {
  html { background: none; font-size: 80%; }
  .scroll { overflow: visible; }
  nav { display: none; }
}
"""
