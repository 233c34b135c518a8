// What filters and raw images tell of what stands below them: docs/reference/backup.md §4.3 step 3.
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { backingOf, blockStatusAbove } from "../../src/block/block-status.ts";
import type { BlockDriver } from "../../src/block/driver.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlkdebugDriver } from "../../src/block/filters/blkdebug.ts";
import { CopyBeforeWriteDriver } from "../../src/block/filters/copy-before-write.ts";
import { ThrottleDriver } from "../../src/block/filters/throttle.ts";
import { ThrottleGroups } from "../../src/block/filters/throttle-group.ts";
import { BlockNode } from "../../src/block/node.ts";
import { BackupBench } from "../job/backup-bench.ts";
import { patterned, same } from "../support/copy-pair.ts";
import { Simulation } from "../support/simulation.ts";

const CLUSTER = 65536;
const BYTES = 4 * CLUSTER;

let simulation: Simulation;
let overlay: BlockNode;
let bytes: Uint8Array;
beforeEach(() => {
  simulation = new Simulation(1);
  bytes = patterned(BYTES);
  const below = new BlockNode({ name: "below", driver: new MemoryDriver({ bytes: bytes.slice() }) });
  overlay = new BlockNode({ name: "overlay", driver: new MemoryOverlayDriver({ backing: below, lengthBytes: BYTES }) });
  // One cluster of the overlay's own, and one of zeroes.
  void overlay.write(0, IoVector.of(bytes, CLUSTER, CLUSTER));
  bytes.copyWithin(0, CLUSTER, 2 * CLUSTER);
  void overlay.writeZeroes(CLUSTER, CLUSTER);
  bytes.fill(0, CLUSTER, 2 * CLUSTER);
});

function throttle(file: BlockNode): BlockDriver {
  const groups = new ThrottleGroups(simulation);
  return new ThrottleDriver({ file, group: groups.add("tg", {}) });
}

const kinds: [string, (file: BlockNode) => BlockDriver][] = [
  ["raw", (file) => new RawDriver({ file })],
  ["throttle", throttle],
  ["blkdebug", (image) => new BlkdebugDriver({ image, injectErrors: [] })],
  [
    "copy-before-write",
    (file) =>
      new CopyBeforeWriteDriver({
        file,
        target: new BlockNode({ name: "old", driver: new MemoryDriver({ lengthBytes: BYTES }) }),
      }),
  ],
];

describe.each(kinds)("A %s node on an overlay", (_name, make) => {
  let node: BlockNode;
  beforeEach(() => {
    node = new BlockNode({ name: "top", driver: make(overlay) });
  });

  it("says what is data and zero in the whole chain, and what is the overlay's own", async () => {
    const status = async (at: number) => blockStatusAbove(node, backingOf(node), at, BYTES - at);
    expect(await status(0)).toEqual({ lengthBytes: CLUSTER, allocated: true, data: true, zero: false });
    expect(await status(CLUSTER)).toEqual({ lengthBytes: CLUSTER, allocated: true, data: false, zero: true });
    expect(await status(2 * CLUSTER)).toEqual({ lengthBytes: 2 * CLUSTER, allocated: false, data: true, zero: false });
  });

  it("is backed up with what lies below the overlay", async () => {
    const bench = new BackupBench(simulation, { lengthBytes: BYTES });
    const { job } = await bench.start({ source: node });
    await simulation.run(job.untilConcluded());
    expect(same(bench.targetDriver.bytes, bytes)).toBe(true);
  });
});

describe("A raw node on a part of an overlay", () => {
  it("tells of that part", async () => {
    const node = new BlockNode({ name: "top", driver: new RawDriver({ file: overlay, offsetBytes: 2 * CLUSTER }) });
    const status = await blockStatusAbove(node, undefined, 0, 2 * CLUSTER);
    expect(status).toEqual({ lengthBytes: 2 * CLUSTER, allocated: false, data: true, zero: false });
  });
});
