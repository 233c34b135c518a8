// Writes docs/conformance.md: node scripts/conformance-table.mjs. With --check it writes nothing and tells whether the page is up
// to date; with --qemu it examines the QEMUs of this machine first and keeps what was found in docs/conformance-qemu-7.2.json.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PAGE = join(ROOT, "docs/conformance.md");
const QEMU_RESULTS = join(ROOT, "docs/conformance-qemu-7.2.json");
const QEMUS = ["qemu-system-arm", "qemu-system-riscv64"];

/** The JSON report of a run of the suite on `target`. */
function examine(target) {
  const vblk = ["--conditions=vblk-source", "--import", import.meta.resolve("tsx"), join(ROOT, "cli/main.ts")];
  const args = [...vblk, "conformance", "--target", target, "--json", "-"];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 64 << 20 });
  if (status !== 0 && status !== 1) throw new Error(`${target}: exit status ${status}\n${stderr}`);
  if (stdout === "") throw new Error(`${target}: ${stderr}`);
  return JSON.parse(stdout);
}

/** What is kept of a QEMU's report: standings, and what was seen where something was found. */
function keep(report) {
  const results = report.requirements
    .filter(({ cases }) => cases.length > 0)
    .map(({ id, standing, reason, cases }) => [id, { standing, ...(reason && { reason }), found: findings(cases) }]);
  return Object.fromEntries(
    results.map(([id, { found, ...rest }]) => [id, found.length > 0 ? { ...rest, found } : rest]),
  );
}

/** Findings that say the same, with their variants. */
function findings(cases) {
  const found = new Map();
  for (const { variant, outcome, reason } of cases) {
    if (outcome === "pass" || outcome === "skip") continue;
    const key = `${outcome} ${reason}`;
    const known = found.get(key) ?? { outcome, seen: reason, variants: [] };
    if (!known.variants.includes(variant)) known.variants.push(variant);
    found.set(key, known);
  }
  return [...found.values()];
}

/** Files in which a comment says that they fulfil a requirement, by its id. */
function fulfilments() {
  const places = new Map();
  for (const folder of ["devices", "src"]) {
    for (const entry of readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
      const path = join(entry.parentPath, entry.name);
      for (const [, ids] of readFileSync(path, "utf8").matchAll(/\/\/ @virtio ((?:[A-Z]+-DEV-\d+ ?)+)/g)) {
        for (const id of ids.trim().split(" "))
          places.set(id, (places.get(id) ?? new Set()).add(path.slice(ROOT.length)));
      }
    }
  }
  return places;
}

function page(own, qemus) {
  const [first, second] = QEMUS.map((name) => qemus[name]);
  const lines = [
    "# Conformance",
    "",
    "Written by `scripts/conformance-table.mjs` from a run of the suite on this project's device, the comments `@virtio` of its",
    "code, and what the suite found on QEMU 7.2.22 (`docs/conformance-qemu-7.2.json`, of `qemu-system-arm`; `qemu-system-riscv64`",
    "has the same transport and device). `vblk conformance --help` tells how to examine a device of one's own. Requirements are",
    "paraphrased in `docs/reference/virtio-conformance.tsv`; the standard's text is that of VIRTIO 1.4.",
    "",
    "| standing | this device | QEMU 7.2 |",
    "| --- | --- | --- |",
    ...Object.keys(own.counts).map((standing) => {
      const theirs = Object.values(first).filter((result) => result.standing === standing).length;
      return `| ${standing} | ${own.counts[standing]} | ${standing === "not examined" ? "" : theirs} |`;
    }),
    "",
    "- *violated*: a MUST is broken; *deviates*: a SHOULD is not followed; *lost*: the device's process hung or died.",
    "- *differs*: only through the legacy interface, of which the standard requires nothing: no accusation.",
    "- *skipped*, *not examined*: nothing was seen, for a reason that is told.",
    "",
    "## The suite on another device",
    "",
    "A program with QEMU's command line is examined by `vblk conformance --target PATH`. A device that JavaScript can reach needs a",
    "`SubjectFactory`, which makes devices of it as cases want them; `inProcessSubjects` and `SpawnedSubjects` of",
    "`virtio-blk/machine` are two.",
    "",
    "```ts",
    'import { conformanceCases, deviceRequirements, runCases, summarise, textReport, variants } from "virtio-blk/conformance";',
    "",
    "const results = await runCases({ factory, cases: conformanceCases, variants });",
    "console.log(textReport(summarise(factory.name, deviceRequirements, results)));",
    "```",
    "",
    "## QEMU 7.2 through this suite",
    "",
    ...deviations("MUST is broken", "violated", own, first),
    ...deviations("SHOULD is not followed", "deviates", own, first),
    ...deviations("QEMU hangs", "lost", own, first),
    ...deviations("Different through the legacy interface only", "differs", own, first),
    ...comparison(first, second),
    "## Requirements",
    "",
  ];
  const places = fulfilments();
  for (const chapter of new Set(own.requirements.map((row) => row.chapter))) {
    lines.push(`### ${chapter}`, "");
    lines.push(
      "| id | level | requirement | fulfilled in | case | here | QEMU 7.2 |",
      "| --- | --- | --- | --- | --- | --- | --- |",
    );
    for (const row of own.requirements.filter((candidate) => candidate.chapter === chapter)) {
      const files = [...(places.get(row.id) ?? [])].sort().map((path) => `\`${path}\``);
      const cases = [...new Set(row.cases.map(({ title }) => title.slice(row.id.length + 1)))];
      const here =
        row.standing === "kept" || row.reason === undefined ? row.standing : `${row.standing}: ${row.reason}`;
      const theirs = row.cases.length === 0 ? "" : (first[row.id]?.standing ?? "not run");
      lines.push(
        `| ${[row.id, row.level, row.text, files.join(", "), cases.join("; "), here, theirs].map(cell).join(" | ")} |`,
      );
    }
    lines.push("");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function deviations(title, standing, own, results) {
  const rows = own.requirements.filter(({ id }) => results[id]?.standing === standing);
  if (rows.length === 0) return [];
  const lines = rows.flatMap(({ id, text, level }) =>
    results[id].found.map(({ outcome, seen, variants }) => {
      const what = outcome === "lost" ? `hangs: ${seen}` : seen;
      return `| ${[id, level, text, what, variants.join(", ")].map(cell).join(" | ")} |`;
    }),
  );
  return [
    `### ${title} (${rows.length})`,
    "",
    "| id | level | requirement | seen | variants |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
    "",
  ];
}

/** Where the boards of the two QEMUs give different results. */
function comparison(first, second) {
  const different = Object.keys(first).filter((id) => first[id].standing !== second[id]?.standing);
  if (different.length === 0) return [`Every standing is the same on ${QEMUS.join(" and on ")}.`, ""];
  const told = different.map((id) => `${id} (${first[id].standing}, ${second[id]?.standing ?? "not run"})`);
  return [`Standings that differ between ${QEMUS.join(" and ")}: ${told.join(", ")}.`, ""];
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;");
}

if (process.argv.includes("--qemu")) {
  const results = Object.fromEntries(QEMUS.map((name) => [name, keep(examine(name))]));
  writeFileSync(QEMU_RESULTS, `${JSON.stringify(results, null, 1)}\n`);
}
const text = page(examine("in-process"), JSON.parse(readFileSync(QEMU_RESULTS, "utf8")));
if (!process.argv.includes("--check")) {
  writeFileSync(PAGE, text);
} else if (readFileSync(PAGE, "utf8") !== text) {
  process.stderr.write("docs/conformance.md is out of date: run node scripts/conformance-table.mjs\n");
  process.exitCode = 1;
}
