// `npm run test:mutants`: every mutant of the device, one after another, before the conformance suite; the outcome as a table in
// docs/mutants.md. Arguments are ids of mutants to run alone, which leaves the table as it is.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_ROOT } from "../support/project-files.ts";
import type { Mutant } from "./mutant.ts";
import { MutantTree, type Outcome } from "./mutant-tree.ts";
import { harmless, mutants } from "./mutants.ts";

const LIMIT_MS = 60_000;

const wanted = process.argv.slice(2);
const chosen = wanted.length === 0 ? mutants : mutants.filter(({ id }) => wanted.includes(id));
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
if (wanted.length === 0) writeFileSync(join(PROJECT_ROOT, "docs/mutants.md"), table());
console.log(`${outcomes.length - missed.length} of ${outcomes.length} mutants are caught or harmless`);
process.exitCode = missed.length === 0 ? 0 : 1;

function table(): string {
  const caught = outcomes.filter(({ outcome }) => outcome !== undefined);
  const rows = outcomes.map(({ mutant, outcome }) => {
    const by = outcome?.by ?? `not caught: ${harmless.get(mutant.id) ?? "a hole in the suite"}`;
    return `| ${[mutant.id, mutant.wrong, `\`devices/${mutant.file}\``, by, outcome?.seen ?? ""].map(cell).join(" | ")} |`;
  });
  return `# Mutants

Can the conformance suite fail? \`npm run test:mutants\` breaks one rule of the device at a time (\`test/mutants\`) and runs the
suite on what comes of it, each time in a process of its own. It writes this page. ${caught.length} of ${outcomes.length} mutants are caught;
the first case that finds something ends the run.

| mutant | what the device does wrong | file | caught by | seen |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;");
}
