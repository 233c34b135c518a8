// Writes guest/conformance/catalogue-*.ts, which carry docs/reference/virtio-conformance.tsv into programs without files:
// node scripts/embed-catalogue.mjs

import { readFileSync, writeFileSync } from "node:fs";

const table = new URL("../docs/reference/virtio-conformance.tsv", import.meta.url);
const [head, ...rows] = readFileSync(table, "utf8").trimEnd().split("\n");

/** The text of the module with the rows about `actor`. */
export function catalogueModule(actor) {
  const own = rows.filter((row) => row.split("\t")[2] === actor);
  return `// The requirements on the ${actor}, as docs/reference/virtio-conformance.tsv has them. Written by scripts/embed-catalogue.mjs.

/** Tab-separated: ${head.replaceAll("\t", ", ")}. */
export const ${actor}Catalogue: string = \`\\
${own.join("\n")}
\`;
`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const actor of ["device", "driver"]) {
    writeFileSync(new URL(`../guest/conformance/catalogue-${actor}.ts`, import.meta.url), catalogueModule(actor));
  }
}
