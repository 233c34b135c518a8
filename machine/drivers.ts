// The drivers that a machine's nodes may have.

import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { BlockError } from "../src/base/errors.ts";
import { fileOpener } from "../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../src/block/drivers/memory-openers.ts";
import { qcow2Opener } from "../src/block/drivers/qcow2/opener.ts";
import { rawOpener } from "../src/block/drivers/raw-opener.ts";
import { blkdebugOpenerWith } from "../src/block/filters/blkdebug-opener.ts";
import { copyBeforeWriteOpener } from "../src/block/filters/copy-before-write-opener.ts";
import { snapshotAccessOpener } from "../src/block/filters/snapshot-access.ts";
import { throttleOpener } from "../src/block/filters/throttle.ts";
import type { ThrottleGroups } from "../src/block/filters/throttle-group.ts";
import type { DriverOpener } from "../src/block/graph-options.ts";

const MAX_CONFIG_BYTES = 1 << 20;

/** The first MiB of a file, whatever kind of file it is. */
async function readConfig(path: string): Promise<string> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_CONFIG_BYTES));
    return buffer.toString("utf8", 0, bytesRead);
  } catch (error) {
    throw BlockError.from(error, path);
  }
}

/** `print` is where filters say what they do: standard output of the program. */
export function allDrivers(groups: ThrottleGroups, print?: (text: string) => void): DriverOpener[] {
  return [
    rawOpener,
    qcow2Opener,
    fileOpener(),
    memoryOpener,
    nullOpener,
    blkdebugOpenerWith({ readConfig, ...(print === undefined ? {} : { print }) }),
    throttleOpener(groups),
    copyBeforeWriteOpener,
    snapshotAccessOpener,
  ];
}
