// query-blockstats: docs/reference/monitor.md §2.

import { IoAccounting } from "../../block/accounting.ts";
import type { BlockBackend } from "../../block/backend.ts";
import type { BlockGraph } from "../../block/graph.ts";
import type { BlockNode } from "../../block/node.ts";
import { type Command, defineCommand } from "../command.ts";
import {
  array,
  bool,
  enumeration,
  type Int64,
  int,
  lazy,
  object,
  optional,
  str,
  type Type,
  uint64,
} from "../schema/types.ts";
import { filterOf, shownBackends } from "./query-block.ts";
import { childOf } from "./query-block-names.ts";

/** The members of QMP's BlockDeviceStats that are numbers. */
const COUNTERS = [
  "rd_bytes",
  "wr_bytes",
  "unmap_bytes",
  "rd_operations",
  "wr_operations",
  "flush_operations",
  "unmap_operations",
  "rd_total_time_ns",
  "wr_total_time_ns",
  "flush_total_time_ns",
  "unmap_total_time_ns",
  "wr_highest_offset",
  "rd_merged",
  "wr_merged",
  "unmap_merged",
  "failed_rd_operations",
  "failed_wr_operations",
  "failed_flush_operations",
  "failed_unmap_operations",
  "invalid_rd_operations",
  "invalid_wr_operations",
  "invalid_flush_operations",
  "invalid_unmap_operations",
] as const;

/** QMP's BlockDeviceStats. No intervals are kept, and so no `timed_stats`. */
type BlockDeviceStats = Readonly<Record<(typeof COUNTERS)[number], Int64>> & {
  readonly account_invalid: boolean;
  readonly account_failed: boolean;
  readonly timed_stats: readonly object[];
  readonly idle_time_ns?: Int64;
};

const blockDeviceStats = object({
  ...Object.fromEntries(COUNTERS.map((name) => [name, int])),
  account_invalid: bool,
  account_failed: bool,
  timed_stats: array(object({})),
  idle_time_ns: optional(int),
}) as Type<unknown> as Type<BlockDeviceStats>;

/** QMP's BlockStatsSpecific, of files. */
interface FileStats {
  readonly driver: "file";
  readonly "discard-nb-ok": Int64;
  readonly "discard-nb-failed": Int64;
  readonly "discard-bytes-ok": Int64;
}

/** QMP's BlockStats. */
export interface BlockStats {
  readonly device?: string;
  readonly qdev?: string;
  readonly "node-name"?: string;
  readonly stats: BlockDeviceStats;
  readonly "driver-specific"?: FileStats;
  readonly parent?: BlockStats;
  readonly backing?: BlockStats;
}

const blockStats: Type<BlockStats> = object({
  device: optional(str),
  qdev: optional(str),
  "node-name": optional(str),
  stats: blockDeviceStats,
  "driver-specific": optional(
    object({
      driver: enumeration("file"),
      "discard-nb-ok": uint64,
      "discard-nb-failed": uint64,
      "discard-bytes-ok": uint64,
    }),
  ),
  parent: optional(lazy(() => blockStats)),
  backing: optional(lazy(() => blockStats)),
});

export function queryBlockstatsCommands(graph: BlockGraph): Command[] {
  return [
    defineCommand({
      name: "query-blockstats",
      arguments: object({ "query-nodes": optional(bool) }),
      returns: array(blockStats),
      run(args) {
        if (args["query-nodes"] !== true) return backendsStats(graph);
        // Oldest first, other than query-named-block-nodes.
        return Array.from(graph.nodes, ({ node }) => nodeStats(node)).reverse();
      },
    }),
  ];
}

/** Of every drive, and of every device on a node. */
export function backendsStats(graph: BlockGraph): BlockStats[] {
  return shownBackends(graph).map(backendStats);
}

function backendStats(backend: BlockBackend): BlockStats {
  const { name, device, root, accounting } = backend;
  return {
    device: name,
    ...(device === undefined ? {} : { qdev: device.id ?? device.path }),
    ...mediumStats(backend),
    stats: requestStats(accounting, root, true),
  };
}

/** Of what a backend stands on: the filter of a job that has come between, if there is one, and then the node. */
function mediumStats(backend: BlockBackend): Partial<BlockStats> {
  const { root } = backend;
  if (root === undefined) return {};
  const filterName = filterOf(backend);
  return filterName === undefined ? nodeStats(root) : { "node-name": filterName, parent: nodeStats(root) };
}

/** Only devices count their requests; of a node it is known how far it was written. */
function nodeStats(node: BlockNode): BlockStats {
  const file = childOf(node, "file") ?? childOf(node, "image");
  const backing = childOf(node, "backing");
  const { driver } = node;
  return {
    "node-name": node.name,
    stats: requestStats(new IoAccounting(), node, false),
    ...("discards" in driver ? { "driver-specific": fileStats(driver.discards as DiscardStatistics) } : {}),
    ...(file === undefined ? {} : { parent: nodeStats(file) }),
    ...(backing === undefined ? {} : { backing: nodeStats(backing) }),
  };
}

/** What a file driver counts. */
interface DiscardStatistics {
  readonly done: number;
  readonly failed: number;
  readonly bytes: number;
}

function fileStats({ done, failed, bytes }: DiscardStatistics): FileStats {
  return { driver: "file", "discard-nb-ok": done, "discard-nb-failed": failed, "discard-bytes-ok": bytes };
}

/** Requests are never merged. */
function requestStats(accounting: IoAccounting, node: BlockNode | undefined, counts: boolean): BlockDeviceStats {
  const { read, write, unmap, flush, idleTimeNs } = accounting;
  return {
    rd_bytes: read.bytes,
    wr_bytes: write.bytes,
    unmap_bytes: unmap.bytes,
    rd_operations: read.operations,
    wr_operations: write.operations,
    flush_operations: flush.operations,
    unmap_operations: unmap.operations,
    rd_total_time_ns: read.totalTimeNs,
    wr_total_time_ns: write.totalTimeNs,
    flush_total_time_ns: flush.totalTimeNs,
    unmap_total_time_ns: unmap.totalTimeNs,
    wr_highest_offset: node?.highestWriteBytes ?? 0,
    rd_merged: 0,
    wr_merged: 0,
    unmap_merged: 0,
    failed_rd_operations: read.failed,
    failed_wr_operations: write.failed,
    failed_flush_operations: flush.failed,
    failed_unmap_operations: unmap.failed,
    invalid_rd_operations: read.invalid,
    invalid_wr_operations: write.invalid,
    invalid_flush_operations: flush.invalid,
    invalid_unmap_operations: unmap.invalid,
    account_invalid: counts,
    account_failed: counts,
    timed_stats: [],
    ...(idleTimeNs === undefined ? {} : { idle_time_ns: idleTimeNs }),
  };
}
