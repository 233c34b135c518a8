// How many bitmaps an image keeps, how long their directory is, and what is said where there is no room for them on the disk.
import { describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import type { IoVector } from "../../../../src/base/io-vector.ts";
import { onWarning } from "../../../../src/base/warnings.ts";
import { DirtyBitmap } from "../../../../src/bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../../../../src/bitmap/dirty-bitmap-list.ts";
import { MemoryDriver } from "../../../../src/block/drivers/memory.ts";
import { qcow2Opener } from "../../../../src/block/drivers/qcow2/opener.ts";
import type { Qcow2Driver } from "../../../../src/block/drivers/qcow2/qcow2.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";
import type { BlockNode } from "../../../../src/block/node.ts";

const DISK = 1 << 20;
/** An entry of the directory with a name of that length. */
const entryBytes = (nameBytes: number): number => Math.ceil((24 + nameBytes) / 8) * 8;
const MAX_DIRECTORY_BYTES = 67107840;

class FailingFile extends MemoryDriver {
  failsIn = Number.POSITIVE_INFINITY;

  override write(offsetBytes: number, vector: IoVector): void {
    if (--this.failsIn < 0) throw new BlockError("ENOSPC");
    super.write(offsetBytes, vector);
  }
}

async function imageOn(file: FailingFile): Promise<{ graph: BlockGraph; node: BlockNode }> {
  const graph = new BlockGraph({ drivers: [{ driver: "memory", children: [], open: () => file }, qcow2Opener] });
  await graph.add({ driver: "memory", "node-name": "f" });
  await graph.create({ driver: "qcow2", file: "f", size: DISK });
  return { graph, node: await graph.add({ driver: "qcow2", "node-name": "q", file: "f" }) };
}

/** As long a list as is asked for, which a node's own would take long to become. */
function manyBitmaps(count: number, nameBytes: number): DirtyBitmapList {
  const bitmaps = Array.from({ length: count }, (_, i) => {
    const name = String(i).padStart(nameBytes, "n");
    const bitmap = new DirtyBitmap({ name, granularityBytes: 1 << 20, sizeBytes: DISK });
    bitmap.persistent = true;
    return bitmap;
  });
  return { [Symbol.iterator]: () => bitmaps[Symbol.iterator]() } as unknown as DirtyBitmapList;
}

describe("bitmaps of a qcow2 image", () => {
  it("are 65,535 at the most, when one is added and when they are stored", async () => {
    const { graph, node } = await imageOn(new FailingFile({ lengthBytes: 0 }));
    const { bitmapStore } = node.driver as Qcow2Driver;
    const more = { name: "more", granularityBytes: 65536 };
    bitmapStore.checkNew(manyBitmaps(65534, 8), more);
    expect(() => bitmapStore.checkNew(manyBitmaps(65535, 8), more)).toThrow(
      "Maximum number of persistent bitmaps is already reached",
    );
    await expect(bitmapStore.store(manyBitmaps(65536, 8))).rejects.toThrow("Too many persistent bitmaps");
    await graph.delete("q");
  });

  it("have a directory of 67,107,840 bytes at the most, when one is added and when they are stored", async () => {
    const { graph, node } = await imageOn(new FailingFile({ lengthBytes: 0 }));
    const { bitmapStore } = node.driver as Qcow2Driver;
    const fits = Math.floor(MAX_DIRECTORY_BYTES / entryBytes(1023));
    expect(fits).toBeLessThan(65535);
    const more = { name: "m".repeat(1023), granularityBytes: 65536 };
    bitmapStore.checkNew(manyBitmaps(fits - 1, 1023), more);
    expect(() => bitmapStore.checkNew(manyBitmaps(fits, 1023), more)).toThrow(
      "Not enough space in the bitmap directory",
    );
    await expect(bitmapStore.store(manyBitmaps(fits + 1, 1023))).rejects.toThrow("Bitmap directory is too large");
    await graph.delete("q");
  });

  it("that a full disk has no room for are lost with a word, and marked as in use", async () => {
    const told = new Set<string>();
    for (let step = 0; ; step++) {
      const file = new FailingFile({ lengthBytes: 0 });
      const { graph, node } = await imageOn(file);
      node.bitmaps.add({ name: "b0", granularityBytes: 65536 }).persistent = true;
      await graph.delete("q");
      const again = await graph.add({ driver: "qcow2", "node-name": "q", file: "f" });
      again.bitmaps.setDirty(0, DISK);
      const warnings: string[] = [];
      const end = onWarning((line) => warnings.push(line));
      file.failsIn = step;
      const closing = graph.delete("q");
      await closing.catch((error: unknown) => expect(error).toMatchObject({ errno: "ENOSPC" }));
      end();
      file.failsIn = Number.POSITIVE_INFINITY;
      if (warnings.length === 0) break;
      told.add(warnings.join());
      const after = await graph.open({ driver: "qcow2", file: "f" });
      expect(after.bitmaps.find("b0")?.inconsistent ?? true).toBe(true);
      await graph.release(after);
    }
    const prefix = "Lost persistent bitmaps during inactivation of node 'q': ";
    expect([...told].sort()).toEqual([
      `${prefix}Failed to update bitmap extension: No space left on device`,
      `${prefix}Failed to write bitmap 'b0' to file: No space left on device`,
    ]);
  });
});
