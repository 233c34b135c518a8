// The event of a write beyond a node's threshold: docs/reference/monitor.md §3.

import type { BlockGraph } from "../../block/graph.ts";
import { defineEvent, type EventQueue } from "../events.ts";
import { object, str, uint64 } from "../schema/types.ts";

const BLOCK_WRITE_THRESHOLD = defineEvent(
  "BLOCK_WRITE_THRESHOLD",
  object({ "node-name": str, "amount-exceeded": uint64, "write-threshold": uint64 }),
);

/** Tells the monitor's clients of writes beyond nodes' thresholds. The function returned ends it. */
export function reportWriteThresholds(graph: BlockGraph, events: EventQueue): () => void {
  events.declare(BLOCK_WRITE_THRESHOLD);
  return graph.onWriteThreshold((node, thresholdBytes, exceededBytes) => {
    events.emit(BLOCK_WRITE_THRESHOLD, {
      "node-name": node.name,
      "amount-exceeded": exceededBytes,
      "write-threshold": thresholdBytes,
    });
  });
}
