// `npm run test:mutants`: every mutant of the device, one after another, before the conformance suite; the outcome as a table in
// docs/mutants.md. Arguments are ids of mutants to run alone, of which the rows of the table are renewed.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_ROOT } from "../support/project-files.ts";
import type { Mutant } from "./mutant.ts";
import { MutantTree, type Outcome } from "./mutant-tree.ts";
import { harmless, mutants } from "./mutants.ts";

const LIMIT_MS = 60_000;
const PAGE = join(PROJECT_ROOT, "docs/mutants.md");

const wanted = process.argv.slice(2);
const chosen = wanted.length === 0 ? mutants : mutants.filter(({ id }) => wanted.includes(id));
const NOT_CAUGHT = "not caught:";
const tree = new MutantTree();
const outcomes: { readonly mutant: Mutant; readonly outcome: Outcome }[] = [];
try {
  const sound = await tree.examine(undefined, LIMIT_MS);
  if (sound !== undefined) throw new Error(`The device as it is does not pass: ${sound.by}: ${sound.seen}`);
  for (const [i, mutant] of chosen.entries()) {
    const outcome = await tree.examine(mutant, LIMIT_MS);
    outcomes.push({ mutant, outcome });
    const told = outcome === undefined ? "NOT CAUGHT" : outcome.by;
    console.log(`${String(i + 1).padStart(3)}/${chosen.length} ${mutant.id}: ${told}`);
  }
} finally {
  tree.remove();
}
const missed = outcomes.filter(({ mutant, outcome }) => outcome === undefined && !harmless.has(mutant.id));
writeFileSync(PAGE, table());
console.log(`${outcomes.length - missed.length} of ${outcomes.length} mutants are caught or harmless`);
process.exitCode = missed.length === 0 ? 0 : 1;

function table(): string {
  const known = new Map(existsSync(PAGE) ? readFileSync(PAGE, "utf8").split("\n").map(rowWithId) : []);
  for (const { mutant, outcome } of outcomes) known.set(mutant.id, row(mutant, outcome));
  const rows = mutants.map(({ id }) => known.get(id)).filter((line) => line !== undefined);
  const caught = rows.filter((line) => !line.includes(NOT_CAUGHT)).length;
  return `# Mutants

Can the conformance suite fail? \`npm run test:mutants\` breaks one rule of the device at a time (\`test/mutants\`) and runs the
suite on what comes of it, each time in a process of its own; the first case that finds something ends the run. It writes this
page. ${caught} of ${rows.length} mutants are caught; of the others stands why nobody can accuse them.

| mutant | what the device does wrong | file | caught by |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function row(mutant: Mutant, outcome: Outcome): string {
  const by = outcome?.by ?? `${NOT_CAUGHT} ${harmless.get(mutant.id) ?? "a hole in the suite"}`;
  return `| ${[mutant.id, mutant.wrong, `\`devices/${mutant.file}\``, by].map(cell).join(" | ")} |`;
}

/** A row of the page by the id that it begins with; of other lines something that is no id. */
function rowWithId(line: string): [id: string, row: string] {
  return [line.split(" | ")[0]!.replace(/^\| /, ""), line];
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;");
}
