// The event of a write beyond a node's threshold: docs/reference/monitor.md §3.

import type { BlockNode } from "../../block/node.ts";
import type { JsonObject } from "../json/value.ts";
import { type ObjectType, object, str, uint64 } from "../schema/types.ts";

/** The data of BLOCK_WRITE_THRESHOLD. */
export const blockWriteThreshold: ObjectType<unknown> = object({
  "node-name": str,
  "amount-exceeded": uint64,
  "write-threshold": uint64,
});

/** What QMP tells when `BlockGraph.onWriteThreshold` is heard. */
export function writeThresholdEvent(
  node: BlockNode,
  thresholdBytes: number,
  exceededBytes: number,
): { readonly name: string; readonly data: JsonObject } {
  return {
    name: "BLOCK_WRITE_THRESHOLD",
    data: { "node-name": node.name, "amount-exceeded": exceededBytes, "write-threshold": thresholdBytes },
  };
}
