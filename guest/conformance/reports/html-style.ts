// The look of the HTML report and the few lines of script that filter it. Nothing is fetched: the page stands alone.

/** Colours by standing are `--kept` and so on, `--not-examined` for `not examined`. */
export const htmlStyle: string = `
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1c2330; --faint: #667085; --line: #e2e5ea; --code: #f2f4f7;
  --kept: #1f9d62; --violated: #d1293d; --deviates: #c97a06; --differs: #7a5bd0; --lost: #9b1c6b; --error: #5c0f1c;
  --skipped: #8b95a5; --not-examined: #c3c9d3; }
@media (prefers-color-scheme: dark) { :root:not([data-theme="light"]) { --bg: #10141b; --card: #181e28; --ink: #e6eaf1;
  --faint: #93a0b4; --line: #2a3240; --code: #11161e; --kept: #35c384; --violated: #ff6275; --deviates: #f0a73a; --differs: #a78bfa;
  --lost: #f472b6; --error: #ff9aa8; --skipped: #7d8797; --not-examined: #465062; } }
:root[data-theme="dark"] { color-scheme: dark; --bg: #10141b; --card: #181e28; --ink: #e6eaf1; --faint: #93a0b4; --line: #2a3240;
  --code: #11161e; --kept: #35c384; --violated: #ff6275; --deviates: #f0a73a; --differs: #a78bfa; --lost: #f472b6; --error: #ff9aa8;
  --skipped: #7d8797; --not-examined: #465062; }
:root[data-theme="light"] { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main, header > div { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { position: sticky; top: 0; z-index: 1; background: var(--card); border-bottom: 1px solid var(--line); padding: 18px 0 14px; }
h1 { font-size: 20px; margin: 0 0 2px; letter-spacing: -.01em; }
h1 button { float: right; }
header p { margin: 0 0 12px; color: var(--faint); }
.bar { display: flex; gap: 2px; height: 10px; border-radius: 5px; overflow: hidden; background: var(--line); }
.bar i { background: var(--c); min-width: 2px; }
.filters { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 12px; align-items: center; }
button, input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 999px; padding: 3px 12px; }
button { cursor: pointer; }
button[aria-pressed] { border-color: var(--c); }
button[aria-pressed]::before { content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 50%; background: var(--c); margin-right: 7px; }
button[aria-pressed="false"] { opacity: .45; }
button b { font-variant-numeric: tabular-nums; margin-left: 5px; }
input { flex: 1; min-width: 160px; }
section { margin: 30px 0; }
h2 { font-size: 16px; margin: 0 0 10px; display: flex; gap: 14px; align-items: center; }
h2 .bar { flex: 1; max-width: 260px; height: 6px; }
h2 small { color: var(--faint); font-weight: 400; }
details { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--c); border-radius: 8px; margin: 6px 0; }
summary { padding: 8px 14px; cursor: pointer; display: grid; grid-template-columns: 132px 1fr auto; gap: 12px; align-items: baseline; }
summary code { font-weight: 600; }
summary em { font-style: normal; font-size: 12px; color: var(--c); border: 1px solid var(--c); border-radius: 999px; padding: 0 9px; white-space: nowrap; }
details > div { padding: 2px 16px 14px; border-top: 1px solid var(--line); }
dl { display: grid; grid-template-columns: 108px 1fr; gap: 4px 12px; margin: 12px 0; }
dt { color: var(--faint); } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; }
td { padding: 4px 8px; border-top: 1px solid var(--line); vertical-align: top; }
td:first-child { white-space: nowrap; color: var(--faint); }
td.pass { color: var(--kept); } td.fail { color: var(--violated); } td.skip { color: var(--skipped); } td.lost, td.error { color: var(--lost); }
code, pre { font: 13px/1.5 ui-monospace, "Cascadia Mono", Menlo, monospace; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; margin: 8px 0 0; overflow-x: auto; max-height: 360px; }
.none { color: var(--faint); text-align: center; padding: 60px; }
[hidden] { display: none !important; }
@media (max-width: 640px) { summary { grid-template-columns: 1fr auto; } summary span { grid-column: 1 / -1; } header { position: static; } }
`;

/** Shows the requirements whose standing is switched on and whose text has the words that are looked for. */
export const htmlScript: string = `
const rows = [...document.querySelectorAll("details")];
const chips = [...document.querySelectorAll("button[aria-pressed]")];
const search = document.querySelector("input");
function filter() {
  const on = new Set(chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.standing));
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !on.has(row.dataset.standing) || !words.every((word) => text.includes(word));
    if (!row.hidden) shown++;
  }
  for (const part of document.querySelectorAll("section")) part.hidden = part.querySelector("details:not([hidden])") === null;
  document.querySelector(".none").hidden = shown > 0;
}
for (const chip of chips) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
    filter();
  });
  chip.addEventListener("dblclick", () => {
    for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
    filter();
  });
}
search.addEventListener("input", filter);
document.querySelector("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
`;
