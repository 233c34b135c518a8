// Storing bitmaps in a file that fails at each of its steps in turn. docs/reference/persistence-migration.md §3.3.
import { expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../../src/block/drivers/memory.ts";
import { checkImage } from "../../../../src/block/drivers/qcow2/check.ts";
import { qcow2Opener } from "../../../../src/block/drivers/qcow2/opener.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";

/** Fails once, at the step that `failsIn` counts down to. */
class FailingFile extends MemoryDriver {
  failsIn = Number.POSITIVE_INFINITY;

  override write(offsetBytes: number, vector: IoVector): void {
    this.#step();
    super.write(offsetBytes, vector);
  }

  override flush(): void {
    this.#step();
  }

  #step(): void {
    if (this.failsIn-- === 0) throw new BlockError("ENOSPC");
  }
}

/** True if the step was reached: the image with bitmaps `old` and `new` failed to be given away there. */
async function failAt(step: number): Promise<boolean> {
  const file = new FailingFile({ lengthBytes: 0 });
  const memory = { driver: "memory", children: [], open: () => file };
  const graph = new BlockGraph({ drivers: [memory, qcow2Opener] });
  await graph.add({ driver: "memory", "node-name": "f" });
  await graph.create({ driver: "qcow2", file: "f", size: 1 << 20, "cluster-size": 512 });
  const open = () => graph.add({ driver: "qcow2", "node-name": "q", file: "f" });
  const write = async (at: number) => node.write(at, IoVector.of(new Uint8Array(512).fill(1)));
  let node = await open();
  node.bitmaps.add({ name: "old", granularityBytes: 512 }).persistent = true;
  await write(0);
  await graph.delete("q");
  node = await open();
  node.bitmaps.add({ name: "new", granularityBytes: 512 }).persistent = true;
  await write(1 << 19);
  await node.flush();
  file.failsIn = step;
  const failed = await graph.setActive("q", false).then(
    () => false,
    (error: Error) => {
      expect(error.message).toMatch(/^Failed to inactivate node: /);
      return true;
    },
  );
  file.failsIn = Number.POSITIVE_INFINITY;
  // The last thing to fail is the file below, when the image is given away already.
  const kept = node.active;
  if (!failed) expect(kept).toBe(false);
  if (kept) {
    // Nothing that is written now may be missed.
    await write(1 << 18);
    await node.flush();
    const crashed = new MemoryDriver({ bytes: file.bytes.slice() });
    const after = new BlockGraph({ drivers: [{ ...memory, open: () => crashed }, qcow2Opener] });
    await after.add({ driver: "memory", "node-name": "f" });
    const left = await after.open({ driver: "qcow2", file: "f" });
    for (const bitmap of left.bitmaps) expect(bitmap.inconsistent, bitmap.name).toBe(true);
    expect((await checkImage((left.driver as Qcow2Driver).image)).corruptions).toBe(0);
    await after.release(left);
    await after.close();
    await graph.setActive("q", false);
  }
  await graph.setActive("q", true);
  expect(node.bitmaps.get("old").countBytes).toBe(kept ? 1536 : 1024);
  expect(node.bitmaps.get("new").countBytes).toBe(kept ? 1024 : 512);
  expect((await checkImage((node.driver as Qcow2Driver).image)).corruptions).toBe(0);
  await graph.close();
  return failed;
}

it("a store that fails leaves the bitmaps in memory, in use in the image, and to be stored again", async () => {
  let step = 0;
  while (await failAt(step)) step++;
  expect(step).toBeGreaterThan(10);
});
