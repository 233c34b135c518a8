// What a run did: requests by type, clusters copied, bitmaps; as an object and as tables.

import type { BackupInfo, BitmapInfo, MachineControl } from "../machine/control.ts";
import type { RequestCount, RequestStatistics } from "./request-statistics.ts";
import type { CheckResult } from "./run-reporter.ts";
import { formatBytes, formatMs, formatTable } from "./table.ts";

export interface RunSummary {
  readonly elapsedMs: number;
  /** By type; a type that did not occur is left out. */
  readonly requests: readonly RequestCount[];
  readonly backups: readonly BackupInfo[];
  readonly bitmaps: readonly BitmapInfo[];
  readonly checks: readonly CheckResult[];
}

export function summarise(run: {
  statistics: RequestStatistics;
  control: MachineControl | undefined;
  checks: readonly CheckResult[];
  elapsedMs: number;
}): RunSummary {
  const { statistics, control, checks, elapsedMs } = run;
  return {
    elapsedMs,
    requests: [...statistics.counts, statistics.refused].filter(({ requests }) => requests > 0),
    backups: control?.backups ?? [],
    bitmaps: control?.bitmaps ?? [],
    checks,
  };
}

/** The tables, to people. */
export function writeSummary(summary: RunSummary, output: NodeJS.WritableStream): void {
  const write = (header: readonly string[], rows: readonly (readonly (string | number)[])[]): void => {
    if (rows.length > 0)
      output.write(
        `\n${formatTable(header, rows)
          .map((line) => `  ${line}\n`)
          .join("")}`,
      );
  };
  write(
    ["requests", "count", "data", "time", "errors"],
    summary.requests.map(({ type, requests, bytes, timeMs, errors }) => [
      type,
      requests,
      bytes === 0 ? "-" : formatBytes(bytes),
      formatMs(timeMs),
      errors,
    ]),
  );
  write(
    ["backup", "cluster", "copied by the background loop", "copied before guest writes", "result"],
    summary.backups.map((backup) => [
      backup.id,
      formatBytes(backup.clusterSizeBytes),
      backup.copiedByLoopClusters,
      backup.copiedForGuestClusters,
      backup.error ?? (backup.hasEnded ? "completed" : backup.status),
    ]),
  );
  write(
    ["bitmap", "drive", "granularity", "dirty clusters", "dirty"],
    summary.bitmaps.map(({ name, drive, granularityBytes, dirtyBytes }) => [
      name,
      drive,
      formatBytes(granularityBytes),
      dirtyBytes / granularityBytes,
      formatBytes(dirtyBytes),
    ]),
  );
  output.write(`\n  ${formatMs(summary.elapsedMs)} in all\n\n`);
}
