// The drivers that a machine's nodes may have.

import { fileOpener } from "../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../src/block/drivers/raw-opener.ts";
import { blkdebugOpener } from "../src/block/filters/blkdebug-opener.ts";
import { copyBeforeWriteOpener } from "../src/block/filters/copy-before-write-opener.ts";
import { snapshotAccessOpener } from "../src/block/filters/snapshot-access.ts";
import { throttleOpener } from "../src/block/filters/throttle.ts";
import type { ThrottleGroups } from "../src/block/filters/throttle-group.ts";
import type { DriverOpener } from "../src/block/graph-options.ts";

export function allDrivers(groups: ThrottleGroups): DriverOpener[] {
  return [
    rawOpener,
    fileOpener(),
    memoryOpener,
    nullOpener,
    blkdebugOpener,
    throttleOpener(groups),
    copyBeforeWriteOpener,
    snapshotAccessOpener,
  ];
}
