// `npm run bench`: all benchmarks, or those named; tables, or JSON with --json.

import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { backupBenchmarks } from "./backup.ts";
import { incrementalBenchmarks, sparseBenchmarks } from "./backup-changes.ts";
import { backupMemoryBenchmarks } from "./backup-memory.ts";
import { bitmapBenchmarks } from "./bitmap.ts";
import { guestDuringBackupBenchmarks } from "./guest-during-backup.ts";
import { qcow2BackupBenchmarks } from "./qcow2-backup.ts";
import { qcow2OpenBenchmarks } from "./qcow2-open.ts";
import { qcow2RequestBenchmarks } from "./qcow2-requests.ts";
import { qtestBenchmarks } from "./qtest.ts";
import { type BenchTable, formatBenchTable } from "./report.ts";
import { requestPathBenchmarks } from "./request-path.ts";

const IMAGES = process.env["VBLK_BENCH_FOLDER"] ?? tmpdir();

const BENCHMARKS: Readonly<Record<string, () => Promise<BenchTable[]>>> = {
  "request-path": requestPathBenchmarks,
  bitmap: bitmapBenchmarks,
  qtest: qtestBenchmarks,
  backup: () => backupBenchmarks(IMAGES),
  incremental: () => incrementalBenchmarks(IMAGES),
  sparse: () => sparseBenchmarks(IMAGES),
  "guest-during-backup": () => guestDuringBackupBenchmarks(IMAGES),
  "qcow2-backup": () => qcow2BackupBenchmarks(IMAGES),
  "qcow2-requests": () => qcow2RequestBenchmarks(IMAGES),
  "qcow2-open": () => qcow2OpenBenchmarks(IMAGES),
  "backup-memory": () => backupMemoryBenchmarks(IMAGES),
};

const HELP = `Usage: npm run bench -- [--json] [${Object.keys(BENCHMARKS).join("] [")}]

Compares side by side, in one run, and prints ratios: absolute figures drift by a factor of two.
VBLK_BENCH_FOLDER says where 2 GiB of images may be (the system's folder for temporary files by default).`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
});
const unknown = positionals.filter((name) => BENCHMARKS[name] === undefined);
if (values.help === true || unknown.length > 0) {
  console.log(HELP);
  process.exitCode = unknown.length > 0 ? 2 : 0;
} else {
  const tables: BenchTable[] = [];
  for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)) {
    const made = await BENCHMARKS[name]!();
    tables.push(...made);
    if (values.json !== true) for (const table of made) console.log(`${formatBenchTable(table)}\n`);
  }
  if (values.json === true) console.log(JSON.stringify(tables, null, 2));
}
